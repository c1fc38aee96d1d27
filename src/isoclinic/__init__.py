"""Intraoperative 2D/3D registration: the pose that aligns a preoperative CT with an X-ray."""

from importlib.metadata import version

import lazy_loader

# torch and numba take seconds to import: whoever asks for help or the version need not wait for them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = version("isoclinic")
