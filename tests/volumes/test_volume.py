"""Volume: places in the world, structures, cropping, downsampling; brute force as the oracle."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import mode

from isoclinic.errors import InputError, UsageError
from isoclinic.volumes import AttenuationConfig, Volume, mu_from_hu, split_materials
from raising import raises

# Oblique, anisotropic and left-handed.
AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix() @ np.diag(
    [-0.7, 0.9, 2.5]
)
AFFINE[:3, 3] = [12.0, -34.0, 56.0]


def make_volume(shape: tuple[int, int, int] = (7, 6, 5), dtype: type = np.int16, **fields) -> Volume:
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 2000, shape).astype(dtype)
    labels = rng.integers(0, 4, shape).astype(np.uint8)
    return Volume(
        **{
            "hu": hu,
            "world_from_voxel": AFFINE,
            "labels": labels,
            "label_names": {1: "hip_left", 2: "sacrum", 3: "hip_right"},
            **fields,
        }
    )


def world(volume: Volume, voxel: tuple[float, float, float]) -> np.ndarray:
    return (volume.world_from_voxel @ [*voxel, 1])[:3]


class TestConstruction:
    def test_properties(self) -> None:
        volume = make_volume()
        assert volume.shape == (7, 6, 5)
        np.testing.assert_allclose(volume.spacing_mm, [0.7, 0.9, 2.5])
        np.testing.assert_allclose(volume.isocentre_world, world(volume, (3, 2.5, 2)))
        assert volume.orientation == "LAS"

    def test_arrays_become_contiguous_and_the_affine_is_a_copy(self) -> None:
        affine = AFFINE.copy()
        volume = make_volume(hu=np.zeros((5, 6, 7), np.float32).T, labels=None, world_from_voxel=affine)
        affine[0, 3] = 999
        assert volume.hu.flags.c_contiguous
        np.testing.assert_array_equal(volume.world_from_voxel, AFFINE)

    @pytest.mark.parametrize(
        ("fields", "fault"),
        [
            ({"hu": np.zeros((3, 3), np.int16)}, ("ct.wrong-shape", "hu", "[nx, ny, nz]", "(3, 3)")),
            ({"hu": np.zeros((3, 0, 3), np.int16)}, ("ct.wrong-shape", "hu", "(3, 0, 3)")),
            ({"hu": np.zeros((7, 6, 5))}, ("ct.invalid-value", "hu", "float64")),
            (
                {"labels": np.zeros((7, 6, 4), np.uint8)},
                ("ct.wrong-shape", "labels (7, 6, 4)", "hu (7, 6, 5)"),
            ),
            ({"labels": np.zeros((7, 6, 5), np.int32)}, ("ct.invalid-value", "labels", "int32")),
            ({"world_from_voxel": np.eye(3)}, ("ct.malformed-header", "world_from_voxel", "4x4")),
            (
                {"world_from_voxel": np.diag([1, np.nan, 1, 1])},
                ("ct.malformed-header", "world_from_voxel", "nan"),
            ),
            (
                {"world_from_voxel": np.diag([1, 0, 1, 1])},
                ("ct.malformed-header", "world_from_voxel", "singular"),
            ),
            ({"world_from_voxel": np.ones((4, 4)) - np.eye(4)}, ("ct.malformed-header", "last row")),
        ],
    )
    def test_impossible_volumes_are_refused(
        self, fields: dict[str, np.ndarray], fault: tuple[str, ...]
    ) -> None:
        with raises(InputError, *fault):
            make_volume(**fields)

    def test_thin_slivers_are_not_singular(self) -> None:
        make_volume(world_from_voxel=np.diag([1e-3, 1e-3, 100, 1]))


class TestAttenuation:
    def test_slab_by_slab_is_the_whole(self) -> None:
        volume = make_volume()
        slabs = [volume.attenuation(slice(first, first + 2)) for first in range(0, 7, 2)]
        np.testing.assert_array_equal(np.concatenate(slabs), volume.attenuation())
        np.testing.assert_array_equal(volume.attenuation(), mu_from_hu(volume.hu))

    def test_materials_and_config(self) -> None:
        volume, config = make_volume(), AttenuationConfig(beam_energy_kev=45)
        soft_tissue, bone = split_materials(volume.hu, config)
        np.testing.assert_array_equal(volume.attenuation(material="soft_tissue", config=config), soft_tissue)
        np.testing.assert_array_equal(volume.attenuation(material="bone", config=config), bone)

    def test_structures_by_label_or_name(self) -> None:
        volume = make_volume()
        expected = mu_from_hu(volume.hu) * ((volume.labels == 1) | (volume.labels == 2))
        np.testing.assert_array_equal(volume.attenuation(structures=[1, "sacrum"]), expected)
        rows = volume.attenuation(slice(3, 5), structures=["hip_left", 2])
        np.testing.assert_array_equal(rows, expected[3:5])

    def test_labels_beyond_a_byte(self) -> None:
        labels = np.zeros((7, 6, 5), np.uint16)
        labels[2, 3, 4] = 40000
        mask = make_volume(labels=labels).structure_mask([40000])
        assert np.argwhere(mask).tolist() == [[2, 3, 4]]

    def test_impossible_selections_are_refused(self) -> None:
        volume = make_volume()
        with raises(UsageError, "labels.structure-missing", "femur", "hip_left", "hip_right"):
            volume.attenuation(structures=["femur"])
        with raises(UsageError, "labels.structure-missing", "femur", "names"):
            make_volume(label_names={}).attenuation(structures=["femur"])
        for label in (0, -1, 256):
            with raises(UsageError, "labels.structure-missing", f"label {label}"):
                volume.attenuation(structures=[label])
        with raises(UsageError, "labels.missing", "`labels`"):
            make_volume(labels=None).attenuation(structures=[1])
        with raises(UsageError, "ct.invalid-value", "material"):
            volume.attenuation(material="metal")


class TestCrop:
    def test_keeps_values_where_they_were(self) -> None:
        volume = make_volume()
        cropped = volume.crop((2, 1, 0), (6, 4, 5))
        assert cropped.shape == (4, 3, 5)
        np.testing.assert_array_equal(cropped.hu, volume.hu[2:6, 1:4])
        np.testing.assert_array_equal(cropped.labels, volume.labels[2:6, 1:4])
        assert cropped.hu.flags.c_contiguous
        for voxel in ((0, 0, 0), (3, 2, 4)):
            original = tuple(np.add(voxel, (2, 1, 0)))
            np.testing.assert_allclose(world(cropped, voxel), world(volume, original), atol=1e-12)

    @pytest.mark.parametrize(
        "bounds", [((-1, 0, 0), (2, 2, 2)), ((0, 0, 0), (8, 2, 2)), ((2, 0, 0), (2, 2, 2))]
    )
    def test_bounds_outside_are_refused(self, bounds) -> None:
        with raises(UsageError, "ct.wrong-shape", "crop", "(7, 6, 5)"):
            make_volume().crop(*bounds)

    def test_to_structures_with_a_margin_that_stops_at_the_border(self) -> None:
        labels = np.zeros((20, 20, 20), np.uint8)
        labels[5:8, 10, 18] = 3
        labels[6, 12, 18] = 1
        volume = make_volume((20, 20, 20), labels=labels)
        tight = volume.crop_to_structures([1, "hip_right"], margin_mm=0)
        np.testing.assert_array_equal(tight.labels, labels[5:8, 10:13, 18:19])
        # 2 mm are 3 voxels of 0.7 mm, 3 of 0.9 mm and 1 of 2.5 mm.
        wide = volume.crop_to_structures([1, 3], margin_mm=2)
        np.testing.assert_array_equal(wide.labels, labels[2:11, 7:16, 17:20])
        np.testing.assert_allclose(world(wide, (0, 0, 0)), world(volume, (2, 7, 17)))

    def test_to_structures_that_are_not_there(self) -> None:
        with raises(UsageError, "labels.structure-missing", "voxel", "sacrum"):
            make_volume(labels=np.ones((7, 6, 5), np.uint8)).crop_to_structures(["sacrum"], margin_mm=1)
        with raises(UsageError, "ct.invalid-value", "margin_mm"):
            make_volume().crop_to_structures([1], margin_mm=-1)


class TestDownsample:
    @pytest.mark.parametrize("factors", [(1, 1, 1), (2, 2, 1), (3, 2, 4), (7, 6, 5), (9, 1, 2)])
    @pytest.mark.parametrize("dtype", [np.int16, np.float32])
    def test_means_modes_and_places_against_brute_force(self, factors, dtype) -> None:
        volume = make_volume(dtype=dtype)
        coarse = volume.downsample(factors)
        counts = [-(-n // f) for n, f in zip(volume.shape, factors, strict=True)]
        assert list(coarse.shape) == counts
        assert coarse.hu.dtype == np.float32 and coarse.labels.dtype == np.uint8
        for block in np.ndindex(*counts):
            voxels = [np.arange(b * f, (b + 1) * f) for b, f in zip(block, factors, strict=True)]
            kept = np.ix_(*(np.minimum(v, n - 1) for v, n in zip(voxels, volume.shape, strict=True)))
            # Means of means of float32: a few roundings of values below 2000.
            assert coarse.hu[block] == pytest.approx(volume.hu[kept].astype(float).mean(), abs=1e-3)
            assert coarse.labels[block] == mode(volume.labels[kept], axis=None).mode
            centre = [v.mean() for v in voxels]
            np.testing.assert_allclose(world(coarse, block), world(volume, centre), atol=1e-11)

    def test_preserves_the_centre_when_nothing_remains(self) -> None:
        volume = make_volume((6, 6, 4))
        np.testing.assert_allclose(volume.downsample((3, 2, 2)).isocentre_world, volume.isocentre_world)
        np.testing.assert_allclose(volume.downsample((3, 2, 2)).spacing_mm, [2.1, 1.8, 5.0])

    @pytest.mark.parametrize(
        ("voxel_mm", "factors"), [(0.1, (1, 1, 1)), (1.4, (2, 2, 1)), (2.6, (4, 3, 1)), (1e6, None)]
    )
    def test_voxels_of_about_a_size(self, voxel_mm, factors):
        """The nearest whole factor of each axis, 0.7 x 0.9 x 2.5 mm; never more than there are voxels."""
        volume = make_volume()
        coarse, expected = volume.coarsened(voxel_mm), volume.downsample(factors or volume.shape)
        np.testing.assert_array_equal(coarse.hu, expected.hu)
        np.testing.assert_array_equal(coarse.world_from_voxel, expected.world_from_voxel)

    def test_without_labels(self) -> None:
        assert make_volume(labels=None).downsample((2, 2, 2)).labels is None

    @pytest.mark.parametrize("factors", [(0, 1, 1), (1, -2, 1), (2, 2)])
    def test_impossible_factors_are_refused(self, factors) -> None:
        with raises(UsageError, "ct.invalid-value", factors):
            make_volume().downsample(factors)


class TestRead:
    def save(self, path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
        nib.save(nib.Nifti1Image(values, affine), path)
        return path

    def test_labels_and_names(self, tmp_path: Path) -> None:
        volume = make_volume()
        ct = self.save(tmp_path / "ct.nii.gz", volume.hu)
        labels = self.save(tmp_path / "bones.v2.nii.gz", volume.labels)
        (tmp_path / "bones.v2.json").write_text('{"1": "hip_left", "2": "sacrum"}')
        read = Volume.read(str(ct), labels=str(labels))
        np.testing.assert_array_equal(read.hu, volume.hu)
        np.testing.assert_array_equal(read.labels, volume.labels)
        assert read.label_names == {1: "hip_left", 2: "sacrum"}
        assert read.path == ct

    def test_labels_without_names(self, tmp_path: Path) -> None:
        volume = make_volume()
        ct = self.save(tmp_path / "ct.nii", volume.hu)
        labels = self.save(tmp_path / "labels.nii", volume.labels.astype(np.float32) * 10000)
        read = Volume.read(ct, labels=labels)
        assert read.labels.dtype == np.uint16
        assert read.label_names == {}

    @pytest.mark.parametrize(
        ("labels", "affine", "fault"),
        [
            (np.full((7, 6, 5), 0.5, np.float32), AFFINE, ("labels.not-labels",)),
            (np.full((7, 6, 5), 70000, np.int32), AFFINE, ("labels.not-labels",)),
        ],
    )
    def test_unusable_label_maps_are_refused(
        self, tmp_path: Path, labels, affine, fault: tuple[str, ...]
    ) -> None:
        ct = self.save(tmp_path / "ct.nii", make_volume().hu)
        path = self.save(tmp_path / "labels.nii", labels, affine)
        with raises(InputError, *fault, "labels.nii"):
            Volume.read(ct, labels=path)

    @pytest.mark.parametrize("text", ["[1, 2]", '{"one": "hip"}', "{", '"hip"'])
    def test_unusable_names_are_refused(self, tmp_path: Path, text: str) -> None:
        ct = self.save(tmp_path / "ct.nii", make_volume().hu)
        labels = self.save(tmp_path / "labels.nii", make_volume().labels)
        (tmp_path / "labels.json").write_text(text)
        with raises(InputError, "labels.malformed-names", "labels.json"):
            Volume.read(ct, labels=labels)

    def test_real_ct_with_labels(self, shared_data: Path) -> None:
        volume = Volume.read(
            shared_data / "abdomen_pelvis_3mm.nii.gz", labels=shared_data / "abdomen_pelvis_3mm_labels.nii.gz"
        )
        assert volume.shape == (122, 101, 112)
        assert volume.hu.dtype == np.int16 and volume.orientation == "RAS"
        assert volume.label_names[3] == "sacrum"
        # x grows to the patient's right.
        left, right = (
            volume.crop_to_structures([name], margin_mm=0).isocentre_world
            for name in ("hip_left", "hip_right")
        )
        assert left[0] < right[0]
        # Bone: its median is well above soft tissue.
        assert np.median(volume.hu[volume.structure_mask(["hip_left", "sacrum"])]) > 100

    @pytest.mark.slow
    def test_real_chest_ct(self, chest_ct_path: Path) -> None:
        volume = Volume.read(chest_ct_path)
        assert volume.shape == (512, 512, 133) and volume.hu.dtype == np.int16
        assert volume.orientation == "LAS"
        image = nib.load(chest_ct_path)
        np.testing.assert_array_equal(volume.world_from_voxel, image.affine)
        np.testing.assert_array_equal(volume.hu[:, :, 60], np.asarray(image.dataobj[..., 60]))
