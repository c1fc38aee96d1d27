"""The geometry doctor: what was read from a CT and an X-ray, from where, and what about it is odd."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
