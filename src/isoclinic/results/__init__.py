"""The output of a registration: pose files, transforms, pictures, a report, a JSON document, a verdict.

Five lines write all of it::

    ct, xray = isoclinic.Volume.read("ct.nii.gz"), isoclinic.XRay.read("xray.dcm")
    result = isoclinic.register(ct, xray, init="ap")
    isoclinic.write_result("result", isoclinic.Registered(volume=ct, result=result))

Everything that states a result, in a file or on a screen, reads the same properties of the same objects:
`stated_error_mm` and `doubts` of `Confidence` and of `StructureResult`, and `Registered.doubts` of them all.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
