"""Many X-rays of different patients: from a table or a folder to a result for each, and a summary of all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
