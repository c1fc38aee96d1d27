"""What a registration leaves: pose files, transforms, pictures, a report, a JSON document, a verdict.

Everything that states a result, in a file or on a screen, reads the same properties of the same objects:
`stated_error_mm` and `doubts` of `Confidence` and of `StructureResult`, and `Registered.doubts` of them all.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
