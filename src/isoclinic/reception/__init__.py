"""X-rays that arrive during an operation: received, kept on disk, registered in turn, and sent out.

Each image is on disk and in a ledger before its sender is told so. Whatever ends the program, no such image
is lost, and none that was finished is registered again.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
