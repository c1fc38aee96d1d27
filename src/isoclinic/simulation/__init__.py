"""Simulated X-rays of a CT, as a detector would measure them, for tests and training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
