"""Runs of X-rays: read frame by frame, tracked with a ledger of what is done, and shown over time."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
