"""Pictures of a registration: did it find the right pose, and how did it get there; and of a training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
