"""CTSpine1K prepared for registration: quality control, lumbar spine, surface, landmarks, DRRs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
