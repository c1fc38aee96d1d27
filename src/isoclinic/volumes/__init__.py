"""CT volumes and X-rays with their place in the world, and what becomes of their values."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
