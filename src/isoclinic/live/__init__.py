"""A page on this computer, to look at a CT and X-rays, move the CT by hand, and register it.

`LivePage` reads files and serves a page for them. All browsers that open it share one workspace,
which is on disk before they are told of a change; registrations are saved as `isoclinic register` saves them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
