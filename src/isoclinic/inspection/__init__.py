"""Inspection of input files: the values that were read, their sources, and whatever is odd about them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
