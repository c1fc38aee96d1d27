"""Public data sets with true poses, read lazily from their original files into the library's conventions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
