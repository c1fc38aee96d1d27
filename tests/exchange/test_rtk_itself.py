"""RTK, where it is installed (the package itk-rtk), shows from our file the picture that we show."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isoclinic.exchange import write_pose
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import Volume

from .test_rtk import image_from_pixel
from .views import CAMERAS, ISOCENTRE_RAS, ROTATIONS, F, posed

itk = pytest.importorskip("itk")
rtk = getattr(itk, "RTK", None) or pytest.skip("itk without RTK", allow_module_level=True)

FULL = RenderConfig(method="trilinear", voxel_mm="full", backend="cpu")


def ellipsoids() -> Volume:
    """A CT around the isocentre of the views, askew in the world: ellipsoids of one HU."""
    shape, spacing_mm = (44, 36, 40), (4.5, 5.0, 4.0)
    rng = np.random.default_rng(8)
    middle = (np.array(shape) - 1) / 2
    points = (np.stack(np.indices(shape), axis=-1) - middle) * spacing_mm
    hu = np.full(shape, -1000, dtype=np.int16)
    for _ in range(9):
        centre, size = rng.uniform(-50, 50, 3), rng.uniform(8, 35, 3)
        hu[np.linalg.norm((points - centre) / size, axis=-1) < 1] = 200
    world_from_voxel = np.eye(4)
    world_from_voxel[:3, :3] = Rotation.from_rotvec([0.1, -0.2, 0.3]).as_matrix() * (-spacing_mm[0], 5.0, 4.0)
    world_from_voxel[:3, 3] = ISOCENTRE_RAS - world_from_voxel[:3, :3] @ middle
    return Volume(hu=hu, world_from_voxel=world_from_voxel)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.slow
def test_rtk_shows_the_same_picture(rotation, camera, tmp_path):
    """RTK reads the file, checks Matrix, and projects by Joseph's method onto the image the comment tells of.

    Both are Joseph's sums in float32, so that correlations differ from 1 by rounding; a picture off by a
    pixel, or mirrored, leaves 0.99 or less.
    """
    view, path = posed(rotation, camera), tmp_path / "geometry.xml"
    write_pose(path, view, "rtk")
    volume = ellipsoids()
    ours = render(volume, view.camera, view.camera_from_world, FULL)[0].numpy()

    reader = rtk.ThreeDCircularProjectionGeometryXMLFileReader.New()
    reader.SetFilename(str(path))
    reader.GenerateOutputInformation()
    mu = itk.image_from_array(np.ascontiguousarray((volume.hu > 0).astype(np.float32).transpose()))
    lps = F @ volume.world_from_voxel
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    mu.SetSpacing(spacing_mm.tolist())
    mu.SetOrigin(lps[:3, 3].tolist())
    mu.SetDirection(itk.matrix_from_array(lps[:3, :3] / spacing_mm))
    _, to_mm = image_from_pixel(path)
    image = itk.Image[itk.F, 3]
    detector = rtk.ConstantImageSource[image].New()
    detector.SetSize([view.camera.width, view.camera.height, 1])
    detector.SetSpacing([*np.abs(to_mm[[0, 1], [0, 1]]).tolist(), 1.0])
    detector.SetOrigin([*to_mm[:2, 2].tolist(), 0.0])
    detector.SetDirection(itk.matrix_from_array(np.diag([*np.sign(to_mm[[0, 1], [0, 1]]), 1.0])))
    projector = rtk.JosephForwardProjectionImageFilter[image, image].New()
    projector.SetGeometry(reader.GetOutputObject())
    projector.SetInput(0, detector.GetOutput())
    projector.SetInput(1, mu)
    projector.Update()
    theirs = itk.array_from_image(projector.GetOutput())[0]

    def ncc(picture):
        return np.corrcoef(picture.ravel(), ours.ravel())[0, 1]

    assert ncc(theirs) > 0.99999
    others = [np.roll(theirs, 1, axis=0), np.roll(theirs, 1, axis=1), theirs[:, ::-1], theirs[::-1]]
    assert max(map(ncc, others)) < 0.99
