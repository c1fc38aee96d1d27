"""Networks that learn from renderings of a CT: pose regressor, spherical encoder, canonical image."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
