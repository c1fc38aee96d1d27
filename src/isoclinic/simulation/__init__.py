"""X-rays as a detector would see them, made from a CT: what registration is tried on and trained with."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
