"""Where registrations begin: by name, drawn alike for every method and on every machine.

Random starts are the true pose, moved by a tangent in camera axes about the centre of the CT (see
docs/conventions.md, "Perturbing a pose"), whose distribution the name says. Other ranges are drawn about the
truth even where their authors draw poses about a nominal view, whose truth is that view plus such a draw:
what counts for a registration is how far the start is from the truth.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from ..datasets import Sample
from ..errors import InputError, UsageError
from ..geometry import mean_target_registration_error_mm, se3
from ..registration import PRESETS
from ..registration.initialize import check_sees

WITHOUT_POSE, ANGLES = "none", "dicom"
_AT_MTRE = "mtre:"
# As the starts of the shared data and of the benchmarks: 30 mm go with 10 degrees.
_DEG_PER_MM = 1 / 3
_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class PublishedStart:
    """A distribution of starts about the true pose, each of the six components drawn by itself.

    Attributes:
        source: where the numbers come from, and what about them is our reading.
        distribution: "uniform" between minus and plus the size, or "normal" with it as standard deviation.
        rotation_deg: sizes of the rotation vector's components along the camera's x, y and z [deg].
        translation_mm: sizes of the translation along them [mm], depth last.
    """

    source: str
    distribution: Literal["uniform", "normal"]
    rotation_deg: tuple[float, float, float]
    translation_mm: tuple[float, float, float]

    def tangent(self, generator: np.random.Generator) -> Tensor:
        """A draw [6], (rotation vector [rad], translation [mm])."""
        sizes = np.concatenate([np.radians(self.rotation_deg), self.translation_mm])
        draw = generator.uniform(-1, 1, 6) if self.distribution == "uniform" else generator.normal(size=6)
        return torch.from_numpy(sizes * draw)


# Both poses of xvr and DiffPose are given in the patient's axes, in which an AP view has its x across the
# table (camera x), y along the beam (camera z) and z along the patient (camera y).
PUBLISHED = {
    "diffpose": PublishedStart(
        source="DiffPose (Gopalakrishnan, Dey & Golland 2024), diffpose/deepfluoro.py at afc0159, "
        "get_random_offset: normal se(3) vectors that its network is trained on. Their means, which "
        "take the source to where it usually is, are left out; that their axes are left-right, beam and "
        "cranio-caudal of an AP view is our reading. No start of a registration was published: there "
        "the network predicts it.",
        distribution="normal",
        rotation_deg=(math.degrees(0.2), math.degrees(0.25), math.degrees(0.1)),
        translation_mm=(70.0, 50.0, 90.0),
    ),
    "diffpose-ljubljana": PublishedStart(
        source="DiffPose, diffpose/ljubljana.py at afc0159, get_random_offset for the view ap; as "
        "`diffpose`. Those for lat are narrower.",
        distribution="normal",
        rotation_deg=(math.degrees(0.1), math.degrees(0.25), math.degrees(0.1)),
        translation_mm=(30.0, 30.0, 30.0),
    ),
    "xvr": PublishedStart(
        source="xvr (Gopalakrishnan et al. 2025), scripts/deepfluoro/train/de_novo.sh at 5fb7857: half the "
        "widths of the uniform training ranges, r1 135..225, r2 +-45, r3 +-15 degrees (Euler angles ZXY "
        "there, components of a rotation vector here), tx and tz +-150, ty 450..1000 mm. No start of a "
        "registration was published: there the network predicts it.",
        distribution="uniform",
        rotation_deg=(45.0, 45.0, 15.0),
        translation_mm=(150.0, 150.0, 275.0),
    ),
    "xvr-ljubljana": PublishedStart(
        source="xvr, scripts/ljubljana/train/de_novo.sh at 5fb7857: r1 -45..105, r2 and r3 +-5 degrees, tx "
        "and tz +-25, ty 700..800 mm; as `xvr`.",
        distribution="uniform",
        rotation_deg=(5.0, 75.0, 5.0),
        translation_mm=(25.0, 25.0, 50.0),
    ),
    "prost": PublishedStart(
        source="ProST (Gao et al. 2020), src/util.py of gaocong13/Projective-Spatial-Transformers at "
        "95c8057, init_rtvec_test: truth and start are drawn apart about one view, normal with 0.15 * 0.35 "
        "pi and 0.15 * 0.3 pi rad about each axis (Euler angles) and both 0.15 of half the CT's size, "
        "which is 128 * 2.332 mm (src/test_regi.py); these are the deviations of their difference, a "
        "rotation vector here. What the article says could not be checked against the code.",
        distribution="normal",
        rotation_deg=(12.45, 12.45, 12.45),
        translation_mm=(31.7, 31.7, 31.7),
    ),
    "lra-cma": PublishedStart(
        source="LRA-CMA (Chen et al. 2024, arXiv:2405.10186), the authors' poster isbi25-LRA-CMA.pdf in "
        "m1nhengChen/CMAES-reg at 1ed86b2: X-rays at uniform +-20 degrees about three axes, +-30 mm in "
        "the plane and +-50 mm in depth. That registrations begin at the middle of that range is our "
        "reading; test.py there draws truth and start apart, in other ranges.",
        distribution="uniform",
        rotation_deg=(20.0, 20.0, 20.0),
        translation_mm=(30.0, 30.0, 50.0),
    ),
}


def start_of(sample: Sample, name: str, seed: int = 0) -> Tensor | str | None:
    """What `Method.register` takes as the start of that name.

    Args:
        sample: to be registered.
        name: "none"; "dicom" for the C-arm's angles; a view, "ap", "pa", "left" or "right"; one of
            `Sample.starts`; "mtre:30" for a random pose whose mTRE at the landmarks is 30 mm; or one of
            `PUBLISHED`.
        seed: of random ones, which also depend on the names of sample and start, but not on their order.

    Raises:
        UsageError: the name is not one of these.
        InputError: hardly any start of that distribution shows the CT.
    """
    check_start(name, sample.starts, sample.name)
    if name in sample.starts:
        return sample.starts[name]
    if name == WITHOUT_POSE:
        return None
    if not is_random(name):
        return name
    generator = _generator(sample.name, name, seed)
    for _ in range(_DRAWS):
        pose = _drawn(sample, name, generator)
        try:
            check_sees(sample.volume, sample.xray, pose, f"start {name}")
        except InputError:
            continue
        return pose
    raise InputError(
        f"{sample.name}: the X-ray does not show the CT from any of {_DRAWS} starts {name!r}",
        code="start.ct-not-seen",
    )


def check_start(name: str, stored: Collection[str], sample: str) -> None:
    """Refuse a name that means no start.

    Args:
        name: in question.
        stored: names of the sample's own starts.
        sample: its name, for the message.

    Raises:
        UsageError: the message lists what there is.
    """
    fixed = (WITHOUT_POSE, *PRESETS, ANGLES)
    if name not in (*stored, *fixed, *PUBLISHED) and _mtre_mm(name) is None:
        known = ", ".join([*stored, *fixed, *PUBLISHED, f"{_AT_MTRE}MM"])
        raise UsageError(f"{sample} has no start {name!r}; there are {known}", code="evaluation.unknown-name")


def is_random(name: str) -> bool:
    """Whether the start of that name is drawn."""
    return name in PUBLISHED or _mtre_mm(name) is not None


def _mtre_mm(name: str) -> float | None:
    """30.0 of "mtre:30"."""
    if not name.startswith(_AT_MTRE):
        return None
    try:
        value = float(name.removeprefix(_AT_MTRE))
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def _generator(sample: str, name: str, seed: int) -> np.random.Generator:
    """The same for the same names and seed, whatever else is drawn."""
    digest = hashlib.sha256(f"{seed}\n{sample}\n{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _drawn(sample: Sample, name: str, generator: np.random.Generator) -> Tensor:
    """A pose [4, 4]."""
    size_mm = _mtre_mm(name)
    tangent = PUBLISHED[name].tangent(generator) if size_mm is None else _at_mtre(sample, size_mm, generator)
    return _moved(sample, tangent)


def _at_mtre(sample: Sample, size_mm: float, generator: np.random.Generator) -> Tensor:
    """A tangent [6] about random axes, scaled so that the mTRE is exactly that."""
    axes = generator.normal(size=(2, 3))
    turn, shift = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    direction = torch.from_numpy(np.concatenate([turn * math.radians(_DEG_PER_MM), shift]))

    def beyond_mm(scale: float) -> float:
        pose = _moved(sample, direction * scale)
        truth, landmarks = sample.camera_from_world, sample.landmarks_world
        return float(mean_target_registration_error_mm(pose, truth, landmarks)) - size_mm

    upper = size_mm
    while beyond_mm(upper) < 0:
        upper *= 2
    return direction * brentq(beyond_mm, 0.0, upper, xtol=1e-12)


def _moved(sample: Sample, tangent: Tensor) -> Tensor:
    centre = torch.from_numpy(sample.volume.isocentre_world)
    return se3.perturb(sample.camera_from_world, tangent, centre)
