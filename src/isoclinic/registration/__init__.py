"""From a CT and an X-ray to a pose: where to start, where to search, coarse to fine, and the pose file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
