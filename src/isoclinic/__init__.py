"""Intraoperative 2D/3D registration: the pose that aligns a preoperative CT with an X-ray."""
