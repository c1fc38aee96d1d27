"""Which DICOM images are X-ray projections, and of which kind."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom import uid

from ..errors import InputError
from ._dicom_tables import describe

# PhotometricInterpretation says how pixels are shown, not what they measure. Radiographs are shown with
# bone white; fluoroscopy and angiography store MONOCHROME2 pixels that grow with the beam (PS3.3 C.8.7.1).
RADIOGRAPHY = ("CR", "DX", "RG", "PX")
FLUOROSCOPY = ("XA", "RF")
# SOP classes of projections from an X-ray point source; what they are called does not matter then.
_PROJECTIONS = (
    *(uid.ComputedRadiographyImageStorage, uid.XRayAngiographicImageStorage, uid.RTImageStorage),
    *(uid.XRayRadiofluoroscopicImageStorage, uid.EnhancedXAImageStorage, uid.EnhancedXRFImageStorage),
    *(uid.DigitalXRayImageStorageForPresentation, uid.DigitalXRayImageStorageForProcessing),
    *(uid.DigitalMammographyXRayImageStorageForPresentation,),
    *(uid.DigitalMammographyXRayImageStorageForProcessing,),
    *(uid.DigitalIntraOralXRayImageStorageForPresentation,),
    *(uid.DigitalIntraOralXRayImageStorageForProcessing,),
)
_FLUOROSCOPIC = (
    *(uid.XRayAngiographicImageStorage, uid.XRayRadiofluoroscopicImageStorage),
    *(uid.EnhancedXAImageStorage, uid.EnhancedXRFImageStorage),
)
# And of what is none.
_NO_PROJECTIONS = (
    *(uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage),
    *(uid.XRay3DAngiographicImageStorage, uid.XRay3DCraniofacialImageStorage),
    *(uid.BreastTomosynthesisImageStorage, uid.MRImageStorage, uid.EnhancedMRImageStorage),
    *(uid.PositronEmissionTomographyImageStorage, uid.NuclearMedicineImageStorage),
    *(uid.UltrasoundImageStorage, uid.UltrasoundMultiFrameImageStorage, uid.SegmentationStorage),
    *(uid.RTDoseStorage, uid.RTStructureSetStorage, uid.RTPlanStorage),
)
# Where the SOP class does not tell: modalities whose images are not projections (PS3.3 C.7.3.1.1.1).
_OTHER_MODALITIES = ("CT", "MR", "PT", "NM", "US", "OCT", "SEG", "RTDOSE", "RTSTRUCT", "RTPLAN")


def check_projection(path: Path, dataset: pydicom.Dataset) -> list[str]:
    """Refuse images that are no projections, by their SOP class, their position, then their modality.

    Returns:
        What to warn of: a modality, or a way to display the image, that contradicts the rest.

    Raises:
        InputError: no projection.
    """
    sop_class, modality = dataset.get("SOPClassUID"), str(dataset.get("Modality", ""))
    if sop_class == uid.MediaStorageDirectoryStorage or "DirectoryRecordSequence" in dataset:
        raise InputError(
            f"{path} is the directory of a DICOM medium; give one of the X-ray files it lists",
            code="xray.not-a-projection",
        )
    consequence = "not an X-ray projection; a CT is given as the volume (`volume`)"
    if sop_class in _NO_PROJECTIONS:
        raise InputError(
            f"{path} is of {describe('SOPClassUID')} {uid.UID(sop_class).name}, {consequence}",
            code="xray.not-a-projection",
        )
    slice_of_a_volume = "ImagePositionPatient" in dataset and "ImageOrientationPatient" in dataset
    if slice_of_a_volume and dataset.get("DistanceSourceToDetector") is None and not is_rt_image(dataset):
        raise InputError(
            f"{path} has {describe('ImagePositionPatient')} as slices of a volume have, and no"
            f" source-detector distance: it is {consequence}",
            code="xray.not-a-projection",
        )
    if modality not in _OTHER_MODALITIES:
        return _display_notes(dataset)
    if sop_class not in _PROJECTIONS:
        raise InputError(f"{path} has modality {modality}, {consequence}", code="xray.not-a-projection")
    return [
        f"{describe('Modality')} {modality} is not that of an X-ray, but {describe('SOPClassUID')}"
        f" {uid.UID(sop_class).name} is, which is believed",
        *_display_notes(dataset),
    ]


def _display_notes(dataset: pydicom.Dataset) -> list[str]:
    """Tell whether a radiograph says in two ways what is white, where nothing else tells its polarity.

    PS3.3 C.8.11.3.1.2: PresentationLUTShape INVERSE belongs to MONOCHROME1, IDENTITY to MONOCHROME2.
    """
    shape, photometric = dataset.get("PresentationLUTShape"), dataset.get("PhotometricInterpretation")
    told = dataset.get("PixelIntensityRelationshipSign") is not None
    if told or dataset.get("Modality") not in RADIOGRAPHY:
        return []
    if (photometric, shape) not in (("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")):
        return []
    return [
        f"{describe('PresentationLUTShape')} {shape} contradicts {describe('PhotometricInterpretation')}"
        f" {photometric}, which is believed: bone may be dark instead of bright, or bright instead of dark"
        " (`polarity` overrides)"
    ]


def is_rt_image(dataset: pydicom.Dataset) -> bool:
    return dataset.get("SOPClassUID") == uid.RTImageStorage or dataset.get("Modality") == "RTIMAGE"


def modality_lut_applies(dataset: pydicom.Dataset) -> bool:
    """Tell whether a Modality LUT is part of what pixels mean: not in angiography and fluoroscopy.

    PS3.3 C.8.7.1.1.2: there it leads from the logarithm to the beam's intensity and is not for display.
    """
    modality, sop_class = str(dataset.get("Modality", "")), dataset.get("SOPClassUID")
    return modality in RADIOGRAPHY or (modality not in FLUOROSCOPY and sop_class not in _FLUOROSCOPIC)
