"""Poses from landmarks: planted poses, noise against theory, flat and mirrored cases, and the files."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from isoclinic.errors import InputError
from isoclinic.geometry import Camera, se3
from isoclinic.registration.landmarks import (
    LandmarkPose,
    pose_from_landmark_files,
    pose_from_landmarks,
    read_landmark_pairs,
    read_pixel_points,
    read_world_points,
)
from isoclinic.volumes import GeometryWarning, XRay
from raising import raises

CAMERA = Camera(width=256, height=200, fx=850, fy=800, cx=130.5, cy=90.0, sdd_mm=1020.0)
CENTRE = np.array([30.0, -50.0, 900.0])

Array = NDArray[np.float64]


def random_pose(rng: np.random.Generator) -> Tensor:
    """Any rotation, CENTRE somewhere in the beam."""
    rotation = torch.from_numpy(Rotation.random(random_state=rng).as_matrix())
    shift = torch.from_numpy(rng.uniform((-50, -40, 450), (50, 40, 850)))
    return se3.rigid(rotation, shift - rotation @ torch.from_numpy(CENTRE))


def random_points(rng: np.random.Generator, count: int, extents_mm: Any = (60, 60, 60)) -> Array:
    """Points around CENTRE in a box turned at random."""
    return (
        rng.uniform(-1, 1, (count, 3)) * extents_mm @ Rotation.random(random_state=rng).as_matrix() + CENTRE
    )


def project(points: Array, pose: Tensor, camera: Camera = CAMERA) -> Array:
    return camera.project(torch.from_numpy(points), pose).numpy()


def error_mm(pose: Tensor, truth: Tensor) -> float:
    """Largest distance of the corners of a 100 mm cube from where they belong."""
    corners = np.stack(np.meshgrid(*[[-50, 50]] * 3), -1).reshape(-1, 3) + CENTRE
    moved = np.c_[corners, np.ones(8)] @ (pose - truth).numpy().T
    return float(np.linalg.norm(moved[:, :3], axis=1).max())


class TestPose:
    @pytest.mark.slow
    @pytest.mark.parametrize("count", [4, 5, 6, 12])
    @pytest.mark.parametrize("extents_mm", [(60, 60, 60), (60, 60, 0), (60, 20, 5)])
    def test_exact_marks_give_the_exact_pose(self, count: int, extents_mm: Any) -> None:
        """From any pose; steps below 1e-7 mm end the iteration, flat directions leave some more."""
        rng = np.random.default_rng(count)
        for _ in range(8):
            truth, points = random_pose(rng), random_points(rng, count, extents_mm)
            fit = pose_from_landmarks(points, project(points, truth), CAMERA)
            assert error_mm(fit.camera_from_world, truth) < 1e-3
            assert fit.residuals_px.max() < 1e-5 and fit.rms_mm < 1e-5
            rotation = fit.camera_from_world[:3, :3]
            torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
            assert torch.linalg.det(rotation) > 0

    @pytest.mark.parametrize("flip", [{"left_right": True}, {"top_bottom": True}])
    def test_mirrored_camera(self, flip: dict[str, bool]) -> None:
        rng = np.random.default_rng(3)
        truth, points = random_pose(rng), random_points(rng, 6)
        mirrored = CAMERA.flip(**flip)
        fit = pose_from_landmarks(points, project(points, truth, mirrored), mirrored)
        assert error_mm(fit.camera_from_world, truth) < 1e-4
        wrong = pose_from_landmarks(points, project(points, truth, mirrored), CAMERA)
        assert wrong.rms_px > 1, "the scene is not what the test is about"

    def test_residuals(self) -> None:
        """In pixels, and as lengths where the point is: independently, point by point."""
        rng = np.random.default_rng(4)
        truth, points = random_pose(rng), random_points(rng, 7)
        marks = project(points, truth) + rng.normal(0, 2, (7, 2))
        fit = pose_from_landmarks(points, marks, CAMERA)
        for index, (point, mark) in enumerate(zip(points, marks, strict=True)):
            x, y, z, _ = fit.camera_from_world.numpy() @ np.append(point, 1)
            du, dv = CAMERA.fx * x / z + CAMERA.cx - mark[0], CAMERA.fy * y / z + CAMERA.cy - mark[1]
            assert fit.residuals_px[index] == pytest.approx(np.hypot(du, dv))
            assert fit.residuals_mm[index] == pytest.approx(np.hypot(du * z / CAMERA.fx, dv * z / CAMERA.fy))
        assert fit.rms_px == pytest.approx(np.sqrt(np.mean(fit.residuals_px.numpy() ** 2)))

    @pytest.mark.parametrize("sigma_px", [0.1, 0.5])
    @pytest.mark.slow
    def test_noise_leaves_the_residual_of_theory(self, sigma_px: float) -> None:
        """2 N numbers less 6 parameters: the sum of squares is sigma^2 chi^2(2 N - 6).

        Its mean over 40 fits of 10 points has a relative standard deviation of sqrt(2 / (40 * 14)), 6 %, its
        root 3 %.
        """
        rng = np.random.default_rng(5)
        squares, errors = [], []
        for _ in range(40):
            truth, points = random_pose(rng), random_points(rng, 10)
            marks = project(points, truth) + rng.normal(0, sigma_px, (10, 2))
            fit = pose_from_landmarks(points, marks, CAMERA)
            squares.append(float(fit.residuals_px.square().sum()) / (2 * 10 - 6))
            errors.append(error_mm(fit.camera_from_world, truth))
        assert np.sqrt(np.mean(squares)) == pytest.approx(sigma_px, rel=0.12)  # 4 standard deviations
        # A pixel is about 0.8 mm at the patient; a turned corner and depth make several of it.
        assert np.median(errors) < 10 * sigma_px

    @pytest.mark.slow
    def test_depth_is_as_uncertain_as_the_formula_says(self) -> None:
        """A flat square seen face on is the case without coupling of depth and tilt."""
        rng = np.random.default_rng(6)
        depth_mm, half_mm, sigma_px = 700.0, 50.0, 0.2
        camera = Camera(width=256, height=256, fx=850, fy=850, cx=127.5, cy=127.5, sdd_mm=1020.0)
        grid = np.stack(np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1]), -1).reshape(-1, 2)
        points = np.c_[half_mm * grid[np.any(grid, axis=1)], np.zeros(8)]
        truth = torch.eye(4, dtype=torch.float64)
        truth[2, 3] = depth_mm
        offsets = []
        for _ in range(50):
            marks = project(points, truth, camera) + rng.normal(0, sigma_px, (8, 2))
            fit = pose_from_landmarks(points, marks, camera)
            offsets.append(fit.camera_from_world[:3, 3].numpy() - truth[:3, 3].numpy())
        spread = np.std(offsets, axis=0)
        radius_mm = np.sqrt(np.mean(np.sum(points**2, axis=1)))
        across = depth_mm * sigma_px / (camera.fx * np.sqrt(8))
        along = depth_mm**2 * sigma_px / (camera.fx * radius_mm * np.sqrt(8))
        # Of 50 draws a standard deviation is known to 10 %; taken 3.5-fold. Tilts add little.
        assert spread[2] == pytest.approx(along, rel=0.35)
        assert spread[:2].max() < 3 * across < spread[2]

    @pytest.mark.slow
    def test_flat_landmarks_far_away_have_two_poses(self) -> None:
        """Tilted either way, a small flat set looks the same but for a little perspective."""
        flat = np.c_[np.random.default_rng(7).uniform(-30, 30, (6, 2)), np.zeros(6)]
        rotation = torch.from_numpy(Rotation.from_euler("x", 30, degrees=True).as_matrix())
        truth = se3.rigid(rotation, torch.tensor([0.0, 0, 700], dtype=torch.float64))
        fit = pose_from_landmarks(flat, project(flat, truth), CAMERA)
        torch.testing.assert_close(fit.camera_from_world, truth, atol=1e-5, rtol=0)
        assert len(fit.alternatives) == 1
        assert 45 < se3.rotation_angle_deg(fit.alternatives[0], truth) < 65  # twice the tilt
        deep = np.r_[flat, [[0, 0, 60.0]]]
        assert len(pose_from_landmarks(deep, project(deep, truth), CAMERA).alternatives) == 0

    def test_nothing_is_put_beyond_the_detector_or_behind_the_source(self) -> None:
        rng = np.random.default_rng(8)
        points = random_points(rng, 6)
        truth = random_pose(rng)
        truth[2, 3] += 1020 - float((points @ truth[2, :3].numpy() + truth[2, 3].item()).mean())
        with raises(InputError, "landmarks.undetermined", "source-detector distance"):
            pose_from_landmarks(points, project(points, truth), CAMERA)

    @pytest.mark.parametrize(
        ("points", "fault"),
        [
            (np.eye(3), ("landmarks.invalid-value", "4", "3")),
            (np.r_[np.eye(3), np.eye(3)], ("landmarks.invalid-value", "4", "3")),
            (np.outer(np.arange(5.0), [1, 2, 3]), ("landmarks.undetermined", "line")),
            (np.outer(np.arange(5.0), [1, 2, 3]) + 0.001 * np.eye(5, 3), ("landmarks.undetermined", "line")),
            (np.full((5, 3), np.nan), ("landmarks.not-finite", "NaN")),
            (np.zeros((5, 2)), ("landmarks.wrong-shape", "points [N, 3]", "(5, 2)")),
        ],
    )
    def test_impossible_points(self, points: Array, fault: tuple[str, ...]) -> None:
        marks = 100 + 20 * np.random.default_rng(0).normal(size=(len(points), 2))
        with raises(InputError, *fault):
            pose_from_landmarks(points, marks, CAMERA)

    def test_impossible_marks(self) -> None:
        points = random_points(np.random.default_rng(9), 5)
        for marks, fault in (
            (np.full((5, 2), 80.0), ("landmarks.undetermined", "pixel")),
            (np.zeros((4, 2)), ("landmarks.wrong-shape", "(4, 2)")),
            (np.full((5, 2), np.inf), ("landmarks.not-finite",)),
        ):
            with raises(InputError, *fault):
                pose_from_landmarks(points, marks, CAMERA)


RAS = {"a": [1.0, 2.0, 3.0], "left b": [-4.5, 5.0, 6.0]}
LPS = {"a": [-1.0, -2.0, 3.0], "left b": [4.5, -5.0, 6.0]}
OWN = {"format": "isoclinic.landmarks", "version": 1, "world": "RAS", "units": "mm", "world_points": RAS}
PIXELS = {"format": "isoclinic.landmarks", "version": 1, "pixel_points": {"a": [10, 20.5]}}
SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


def markups(points: dict[str, list[float]], **entries: Any) -> dict[str, Any]:
    """A point list as 3D Slicer 5 saves it, without what only concerns display."""
    control_points = [
        {"id": str(index), "label": label, "position": position, "positionStatus": "defined"}
        for index, (label, position) in enumerate(points.items())
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": control_points,
    }
    return {"@schema": SCHEMA, "markups": [{**markup, **entries}]}


def fcsv(points: dict[str, list[float]], system: str | None = "LPS", columns: str | None = None) -> str:
    """A point list as 3D Slicer 4 saved it."""
    columns = columns or "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
    header = ["# Markups fiducial file version = 4.11"]
    header += [f"# CoordinateSystem = {system}"] if system is not None else []
    rows = [
        f'vtkMRMLMarkupsFiducialNode_{index},{x},{y},{z},0,0,0,1,1,1,0,"{label}",,'
        for index, (label, (x, y, z)) in enumerate(points.items())
    ]
    return "\n".join([*header, f"# columns = {columns}", *rows]) + "\n"


def write(folder: Path, content: Any, name: str = "points.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def assert_is_ras(points: dict[str, Array]) -> None:
    assert list(points) == list(RAS)
    for name, point in points.items():
        np.testing.assert_array_equal(point, RAS[name])


class TestWorldPoints:
    @pytest.mark.parametrize("entries", [{}, {"world": "LPS", "world_points": LPS}])
    def test_own_json(self, tmp_path: Path, entries: dict[str, Any]) -> None:
        assert_is_ras(read_world_points(write(tmp_path, {**OWN, **entries})))

    @pytest.mark.parametrize(
        ("points", "entries"),
        [
            (LPS, {}),
            (RAS, {"coordinateSystem": "RAS"}),
            (RAS, {"coordinateSystem": 0}),
            (LPS, {"coordinateSystem": 1}),
            (LPS, {"coordinateSystem": "1"}),
            (LPS, {"coordinateUnits": ["mm", "UCUM", "millimeter"]}),
            ({name: [1000 * c for c in p] for name, p in LPS.items()}, {"coordinateUnits": "um"}),
        ],
    )
    def test_slicer_json(self, tmp_path: Path, points: Any, entries: dict[str, Any]) -> None:
        assert_is_ras(read_world_points(write(tmp_path, markups(points, **entries), "F.mrk.json")))

    def test_slicer_json_of_several_lists(self, tmp_path: Path) -> None:
        """Each has a frame of its own; a plane's control points are no landmarks."""
        document = markups({"a": LPS["a"]})
        document["markups"] += markups({"left b": RAS["left b"]}, coordinateSystem="RAS")["markups"]
        document["markups"] += markups({"corner": [0, 0, 0]}, type="Plane")["markups"]
        assert_is_ras(read_world_points(write(tmp_path, document)))

    @pytest.mark.parametrize("status", ["undefined", "preview", "missing"])
    def test_points_that_were_not_placed_are_skipped(self, tmp_path: Path, status: str) -> None:
        document = markups(LPS)
        unplaced = {"label": "c", "position": None, "positionStatus": status}
        document["markups"][0]["controlPoints"].insert(1, unplaced)
        with pytest.warns(GeometryWarning, match=r"points\.json: skipped c: not placed"):
            assert_is_ras(read_world_points(write(tmp_path, document)))

    @pytest.mark.parametrize(("system", "points"), [("RAS", RAS), ("0", RAS), ("LPS", LPS), ("1", LPS)])
    def test_fcsv(self, tmp_path: Path, system: str, points: dict[str, list[float]]) -> None:
        assert_is_ras(read_world_points(write(tmp_path, fcsv(points, system), "F.fcsv")))

    def test_fcsv_of_slicers_manual(self, tmp_path: Path) -> None:
        """The example of Slicer's developer guide, with other columns in front and a comma in a label."""
        text = (
            "# Markups fiducial file version = 4.13\n# CoordinateSystem = LPS\n"
            "# columns = label,id,x,y,z\n"
            'F-1,0,-19.9067,13.9347,29.442970822281154\n"say ""F"", 2",1,-7.3939,-76.94990495817181,17.5\n'
        )
        points = read_world_points(write(tmp_path, text, "F.FCSV"))
        np.testing.assert_array_equal(points["F-1"], [19.9067, -13.9347, 29.442970822281154])
        np.testing.assert_array_equal(points['say "F", 2'], [7.3939, 76.94990495817181, 17.5])

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ("no JSON", ("landmarks.unreadable", "points.json")),
            ("[" * 100_000, ("landmarks.unreadable", "points.json")),
            ("[1, 2]", ("landmarks.empty", "object")),
            ({}, ("landmarks.wrong-kind", "format", "None")),
            (
                {**OWN, "format": "isoclinic.pose"},
                ("landmarks.wrong-kind", "format", "isoclinic.pose", "isoclinic.landmarks"),
            ),
            ({**OWN, "version": 2}, ("landmarks.wrong-kind", "version", "2.0", "1")),
            ({**OWN, "world": None}, ("landmarks.invalid-value", "world", "RAS", "LPS")),
            ({**OWN, "world": "RAI"}, ("landmarks.invalid-value", "world", "RAS", "LPS")),
            ({**OWN, "units": "cm"}, ("landmarks.invalid-value", "units", "mm")),
            ({**OWN, "world_points": {}}, ("landmarks.incomplete", "world_points")),
            ({**OWN, "world_points": [[1, 2, 3]]}, ("landmarks.incomplete", "world_points")),
            ({**OWN, "world_points": {"a": [1, 2]}}, ("landmarks.invalid-value", "'a'", "3")),
            ({**OWN, "world_points": {"a": [1, 2, float("nan")]}}, ("landmarks.invalid-value", "'a'", "3")),
            ({**OWN, "world_points": {"a": [1, 2, "3"]}}, ("landmarks.invalid-value", "'a'", "3")),
            ({**OWN, "world_points": {"a": [1, 2, True]}}, ("landmarks.invalid-value", "'a'", "3")),
            ({**OWN, "world_points": {"a": [1, 2, 10**400]}}, ("landmarks.invalid-value", "'a'", "3")),
            (PIXELS, ("landmarks.incomplete", "world_points")),
            (json.dumps(OWN).replace("left b", "a"), ("landmarks.ambiguous", "'a'")),
            ({**markups(LPS), "@schema": None}, ("landmarks.wrong-kind", "@schema", "None")),
            (
                {**markups(LPS), "@schema": SCHEMA.replace("v1", "v2")},
                ("landmarks.wrong-kind", "@schema", "version 1"),
            ),
            ({**markups(LPS), "markups": 3}, ("landmarks.empty", "placed")),
            (markups({}), ("landmarks.empty", "placed")),
            (markups(LPS, type="Plane"), ("landmarks.empty", "placed")),
            (
                markups(LPS, coordinateSystem=None),
                ("landmarks.invalid-value", "coordinate system", "RAS", "LPS"),
            ),
            (
                markups(LPS, coordinateSystem=2),
                ("landmarks.invalid-value", "coordinate system", "RAS", "LPS"),
            ),
            (markups(LPS, coordinateUnits="inch"), ("landmarks.invalid-value", "coordinateUnits")),
            (markups(LPS, coordinateUnits=[]), ("landmarks.invalid-value", "coordinateUnits")),
            (markups(LPS, controlPoints=["a"]), ("landmarks.invalid-value", "controlPoints")),
            (markups({"": [0, 0, 0]}), ("landmarks.unnamed", "label")),
            (markups({"a": [0, float("inf"), 0]}), ("landmarks.invalid-value", "'a'", "3")),
            (
                {"@schema": SCHEMA, "markups": markups(LPS)["markups"] * 2},
                ("landmarks.ambiguous", "'a'"),
            ),
        ],
    )
    def test_unusable_json(self, tmp_path: Path, content: Any, fault: tuple[str, ...]) -> None:
        path = write(tmp_path, content)
        with raises(InputError, *fault) as caught:
            read_world_points(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ("", ("landmarks.invalid-value", "coordinate system", "RAS", "LPS")),
            (fcsv(LPS, None), ("landmarks.invalid-value", "coordinate system", "RAS", "LPS")),
            (fcsv(LPS, "2"), ("landmarks.invalid-value", "coordinate system", "RAS", "LPS")),
            (fcsv(LPS, columns="id,x,y"), ("landmarks.incomplete", "label", "z")),
            (fcsv({}), ("landmarks.empty", "F.fcsv")),
            (fcsv({" ": [1, 2, 3]}), ("landmarks.unnamed", "label")),
            (fcsv({"a": ["", 2, 3]}), ("landmarks.invalid-value", "'a'", "3")),  # type: ignore[list-item]
            (fcsv({"a": ["nan", 2, 3]}), ("landmarks.invalid-value", "'a'", "3")),  # type: ignore[list-item]
            (fcsv(LPS) + fcsv(LPS), ("landmarks.ambiguous", "'a'")),
            (fcsv(LPS) + "1,2\n", ("landmarks.unnamed", "label")),
            (
                "# CoordinateSystem = 0\n# columns = label,x,y,z\na,1,2\n",
                ("landmarks.invalid-value", "'a'", "3"),
            ),
        ],
    )
    def test_unusable_fcsv(self, tmp_path: Path, content: str, fault: tuple[str, ...]) -> None:
        path = write(tmp_path, content, "F.fcsv")
        with raises(InputError, *fault) as caught:
            read_world_points(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("name", ["p.json", "p.fcsv"])
    def test_unreadable(self, tmp_path: Path, name: str) -> None:
        with raises(InputError, "landmarks.unreadable", name):
            read_world_points(tmp_path / name)
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0")
        with raises(InputError, "landmarks.wrong-kind", name, "text"):
            read_world_points(tmp_path / name)


class TestPixelPoints:
    def test_own_json(self, tmp_path: Path) -> None:
        points = read_pixel_points(write(tmp_path, PIXELS))
        np.testing.assert_array_equal(points["a"], [10, 20.5])

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (OWN, ("landmarks.incomplete", "pixel_points")),
            ({}, ("landmarks.wrong-kind", "format", "None")),
            (markups(LPS), ("landmarks.wrong-kind", "3D Slicer", "pixels")),
            ({**PIXELS, "pixel_points": {"a": [1, 2, 3]}}, ("landmarks.invalid-value", "'a'", "2")),
        ],
    )
    def test_unusable(self, tmp_path: Path, content: Any, fault: tuple[str, ...]) -> None:
        with raises(InputError, *fault):
            read_pixel_points(write(tmp_path, content))

    def test_fcsv_is_not_pixels(self, tmp_path: Path) -> None:
        with raises(InputError, "landmarks.wrong-kind", "p.fcsv", "3D Slicer", "pixels"):
            read_pixel_points(write(tmp_path, fcsv(LPS), "p.fcsv"))


class TestFiles:
    """From files to the pose, with an X-ray that is not used as it is stored."""

    NAMES = ("one", "two", "three", "four", "five", "six")

    @staticmethod
    def xray() -> XRay:
        pixels = np.arange(CAMERA.height * CAMERA.width, dtype=np.float32)
        return XRay(pixels=pixels.reshape(CAMERA.height, CAMERA.width), camera=CAMERA)

    def scene(self, folder: Path, **marks: Any) -> tuple[Tensor, Path, Path]:
        """The pose and the files; marks by name replace those that are right, None takes them away."""
        rng = np.random.default_rng(11)
        truth, points = random_pose(rng), random_points(rng, 6, (35, 35, 35))
        world = dict(zip(self.NAMES, (points * (-1, -1, 1)).tolist(), strict=True))
        right = dict(zip(self.NAMES, project(points, truth).tolist(), strict=True))
        stored = {name: mark for name, mark in {**right, **marks}.items() if mark is not None}
        pixel_file = write(folder, {**PIXELS, "pixel_points": stored}, "xray.json")
        return truth, write(folder, markups(world), "ct.mrk.json"), pixel_file

    def test_marks_are_of_the_image_as_stored(self, tmp_path: Path) -> None:
        truth, world_file, pixel_file = self.scene(tmp_path)
        stored = self.xray()
        used = stored.flip(left_right=True).crop(top=10, left=20, height=120, width=150).bin(3)
        for xray in (stored, used):
            fit = pose_from_landmark_files(xray, world_file, pixel_file)
            assert error_mm(fit.camera_from_world, truth) < 1e-4
            assert fit.names == self.NAMES and fit.unmatched == ()
        pairs = read_landmark_pairs(world_file, pixel_file)
        np.testing.assert_allclose(
            used.pixels_from_stored(pairs.stored_px),
            project(pairs.points_world, truth, used.camera),
            atol=1e-9,
        )

    @pytest.mark.parametrize("degrees", [90, 180, 270])
    def test_the_pose_is_that_of_the_turned_image(self, tmp_path: Path, degrees: int) -> None:
        """It projects the points to where the marks have gone."""
        _, world_file, pixel_file = self.scene(tmp_path)
        used = self.xray().turn(degrees).crop(top=4, left=9, height=100, width=120)
        fit = pose_from_landmark_files(used, world_file, pixel_file)
        pairs = read_landmark_pairs(world_file, pixel_file)
        np.testing.assert_allclose(
            project(pairs.points_world, fit.camera_from_world, used.camera),
            used.pixels_from_stored(pairs.stored_px),
            atol=1e-4,
        )

    def test_one_file_for_both(self, tmp_path: Path) -> None:
        truth, world_file, pixel_file = self.scene(tmp_path)
        pairs = read_landmark_pairs(world_file, pixel_file)
        world = {name: point.tolist() for name, point in zip(pairs.names, pairs.points_world, strict=True)}
        marks = {name: mark.tolist() for name, mark in zip(pairs.names, pairs.stored_px, strict=True)}
        both = write(tmp_path, {**OWN, "world_points": world, "pixel_points": marks}, "both.json")
        assert error_mm(pose_from_landmark_files(self.xray(), both).camera_from_world, truth) < 1e-4

    def test_names_without_a_partner_are_left_out_and_told(self, tmp_path: Path) -> None:
        truth, world_file, pixel_file = self.scene(tmp_path, three=None, other=[5, 5])
        with pytest.warns(GeometryWarning, match="only once: other, three"):
            fit = pose_from_landmark_files(self.xray(), world_file, pixel_file)
        assert fit.unmatched == ("other", "three") and len(fit.residuals_px) == len(fit.names) == 5
        assert error_mm(fit.camera_from_world, truth) < 1e-4

    def test_too_few_in_common(self, tmp_path: Path) -> None:
        _, world_file, pixel_file = self.scene(tmp_path, one=None, two=None, three=None)
        with raises(InputError, "landmarks.invalid-value", "xray.json", "3", "one", "three"):
            pose_from_landmark_files(self.xray(), world_file, pixel_file)

    @pytest.mark.parametrize("mark", [[-0.6, 50], [255.6, 50], [50, -1], [50, 200]])
    def test_marks_outside_the_image(self, tmp_path: Path, mark: list[float]) -> None:
        _, world_file, pixel_file = self.scene(tmp_path, two=mark)
        with raises(InputError, "landmarks.outside", "256 x 200", "'two'", "(column, row)"):
            pose_from_landmark_files(self.xray(), world_file, pixel_file)

    def test_bad_fit_names_the_worst(self, tmp_path: Path) -> None:
        _, world_file, pixel_file = self.scene(tmp_path, two=[5.0, 190.0])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = pose_from_landmark_files(self.xray(), world_file, pixel_file)
        assert fit.rms_mm > 5
        assert any("fit badly" in str(warning.message) for warning in caught)
        worst = fit.names[int(fit.residuals_mm.argmax())]
        assert any(f"{worst!r}" in str(warning.message) for warning in caught)

    def test_second_pose_is_told(self, tmp_path: Path) -> None:
        flat = np.c_[np.random.default_rng(7).uniform(-30, 30, (6, 2)), np.zeros(6)]
        rotation = torch.from_numpy(Rotation.from_euler("x", 30, degrees=True).as_matrix())
        truth = se3.rigid(rotation, torch.tensor([0.0, 0, 700], dtype=torch.float64))
        document = {
            **OWN,
            "world_points": dict(zip(self.NAMES, flat.tolist(), strict=True)),
            "pixel_points": dict(zip(self.NAMES, project(flat, truth).tolist(), strict=True)),
        }
        with pytest.warns(GeometryWarning, match=r"another pose, turned by \d+ degrees"):
            pose_from_landmark_files(self.xray(), write(tmp_path, document))

    def test_points_on_a_line(self, tmp_path: Path) -> None:
        line = {name: [float(index), 0.0, 0.0] for index, name in enumerate(self.NAMES)}
        marks = {name: [10.0 + index, 10.0] for index, name in enumerate(self.NAMES)}
        path = write(tmp_path, {**OWN, "world_points": line, "pixel_points": marks})
        with raises(InputError, "landmarks.undetermined", "points.json", "6", "line"):
            pose_from_landmark_files(self.xray(), path)


@pytest.mark.slow
def test_simulated_xrays(shared_data: Path) -> None:
    """True bone points of an independent simulator, marked to a pixel, give its pose to a few mm."""
    rng = np.random.default_rng(12)
    for truth_file in sorted((shared_data / "xrays").glob("*/*/truth.json"))[::4]:
        document = json.loads(truth_file.read_text())
        points = np.array(document["landmarks"])[::4]
        truth = np.array(document["extrinsic"])
        xray = XRay.read(truth_file.with_name("xray.dcm"))
        in_camera = points @ truth[:3, :3].T + truth[:3, 3]
        homogeneous = (
            in_camera
            @ np.array(
                [
                    [xray.camera.fx, 0, xray.camera.cx],
                    [0, xray.camera.fy, xray.camera.cy],
                    [0, 0, 1],
                ]
            ).T
        )
        marks = homogeneous[:, :2] / homogeneous[:, 2:] + rng.normal(0, 1, (len(points), 2))
        fit: LandmarkPose = pose_from_landmarks(points, marks, xray.camera)
        found = points @ fit.camera_from_world[:3, :3].numpy().T + fit.camera_from_world[:3, 3].numpy()
        # Depth alone is uncertain by 700^2 / (850 * 70 * sqrt(10)) = 2.6 mm; three times that.
        assert np.linalg.norm(found - in_camera, axis=1).mean() < 8
