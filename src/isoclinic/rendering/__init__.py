"""Line integrals through a CT and their six-degree-of-freedom derivatives in one pass."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
