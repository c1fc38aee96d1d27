"""Similarities of X-rays and DRRs, as least-squares problems that the solver can minimise."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
