"""Trained networks in one file: weights, and everything else as plain values.

Reading it runs no code: the file holds numbers only and the networks are rebuilt from checked configurations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import torch
from torch import Tensor
from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from ..errors import InputError, IsoclinicError
from ..geometry import Camera
from ..volumes import Volume, VoxelIdentity
from .canonical import CanonicalNetwork
from .config import (
    CanonicalConfig,
    CTConditionedRegressorConfig,
    ImageDomain,
    PoseRegressorConfig,
    SphericalEncoderConfig,
)
from .ct_conditioned import CTConditionedRegressor
from .pose_regressor import PoseRegressor
from .pose_space import PoseSpace
from .spherical_encoder import SphericalEncoder
from .tensor_file import read_tensors, write_tensors

Network = PoseRegressor | CTConditionedRegressor | SphericalEncoder | CanonicalNetwork
T = TypeVar("T")

_FORMAT = "isoclinic.model"
_VERSION = 1
# Training hides about as much behind collimators.
_LEAST_VIEW = 0.5
# Fields that files of older versions lack; their defaults say what was so then.
_ADDED = {
    "TrainingRecord": ("domain", "renderer", "ct_voxels", "trained_on", "part"),
    "BackboneConfig": ("first_stride", "contrast_px"),
    "SphericalEncoderConfig": ("readings",),
    "CanonicalConfig": ("hint", "saturation"),
}
_KINDS: dict[str, tuple[type[Network], type[Any]]] = {
    "pose_regressor": (PoseRegressor, PoseRegressorConfig),
    "ct_regressor": (CTConditionedRegressor, CTConditionedRegressorConfig),
    "coarse_encoder": (SphericalEncoder, SphericalEncoderConfig),
    "fine_encoder": (SphericalEncoder, SphericalEncoderConfig),
    "canonical": (CanonicalNetwork, CanonicalConfig),
}


@dataclass(frozen=True, kw_only=True)
class PartRecord:
    """How networks see a part of a body: from a camera at the X-ray's source that looks straight at it.

    Attributes:
        structures: labels or names of what in the CT was the part; None for all of it.
        depth_mm: distance of the part's centre from the source [mm]; the focal length of the camera grows
            with it, so that the part has the same size in pixels at any distance.
    """

    structures: tuple[int | str, ...] | None
    depth_mm: float


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """What networks were trained on, and how it went.

    Attributes:
        volume_sha256: digest of the CT's file, as pose files have it; None for networks of any CT.
        ct_voxels: which CT that is, whatever file it is read from; None for networks of any CT, and in models
            of versions that did not know it.
        trained_on: digests of the voxels of all CTs that networks of any CT were made from.
        camera: intrinsics in training: what the networks' images look like, whatever an X-ray's own are.
        space: nominal view and isocentre that poses are predicted about.
        rotation_deg: range of the rotation about the camera's x, y, z, either way [deg].
        translation_mm: range of the isocentre along x, y, z, either way [mm].
        curves: training curve of each network: columns by name, of equal length.
        domain: in which the networks see line integrals.
        renderer: method that moving images were rendered by in training, and are in registration.
        part: how networks of a part of a body see it; None for networks of whole CTs.
    """

    volume_sha256: str | None
    camera: Camera
    space: PoseSpace
    rotation_deg: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    curves: dict[str, dict[str, tuple[float, ...]]]
    domain: ImageDomain = "line_integrals"
    renderer: Literal["siddon", "trilinear"] = "trilinear"
    ct_voxels: VoxelIdentity | None = None
    trained_on: tuple[str, ...] = ()
    part: PartRecord | None = None

    def is_of(self, volume_sha256: str | None, volume: Volume | None) -> bool:
        """Whether this is the CT in training: by its voxels, or by its file.

        Args:
            volume_sha256: digest of its file; None where that is not known.
            volume: the CT; None where only the file is known.
        """
        if self.volume_sha256 == volume_sha256:
            return True
        if volume is None or self.ct_voxels is None:
            return False
        return self.ct_voxels.same_as(VoxelIdentity.of(volume), volume.shape)

    def differences(
        self, camera: Camera, volume_sha256: str | None, volume: Volume | None = None
    ) -> tuple[str, ...]:
        """How a CT and the camera of an X-ray differ from those in training; empty where they fit.

        An X-ray of another focal length, pixel size or crop can be resampled to the camera in training, as
        far as it shows what that one shows.
        """
        differences = []
        trained = self.volume_sha256
        if trained is not None and not self.is_of(volume_sha256, volume):
            digests = (
                "" if volume_sha256 is None else f" (SHA-256 {volume_sha256[:12]}…, not {trained[:12]}…)"
            )
            voxels = "" if volume is None or self.ct_voxels is None else " with other voxels"
            differences.append(f"the CT is another file{voxels}{digests}")
        if self.part is not None:
            # Its camera follows the part wherever an X-ray shows it.
            return tuple(differences)
        share = _share_in_view(self.camera, camera)
        if share < _LEAST_VIEW:
            differences.append(
                f"the X-ray covers {share:.0%} of the field of view in training, less than {_LEAST_VIEW:.0%} "
                f"({_field_of_view(camera)}; in training {_field_of_view(self.camera)})"
            )
        return tuple(differences)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Networks trained together, and the record of that training.

    Attributes:
        networks: by kind, any of "pose_regressor", "ct_regressor", "coarse_encoder", "fine_encoder" and
            "canonical".
        record: of the training.
        isoclinic_version: that trained them; this one when None.
    """

    networks: Mapping[str, Network]
    record: TrainingRecord
    isoclinic_version: str | None = None

    def save(self, path: Path) -> None:
        """Write the file; an existing one is replaced once the new one is complete.

        Raises:
            InputError: it cannot be written.
        """
        tensors = {
            f"{kind}.{name}": tensor
            for kind, network in self.networks.items()
            for name, tensor in network.state_dict().items()
        }
        header = {
            "format": _FORMAT,
            "version": _VERSION,
            "isoclinic_version": self.isoclinic_version or version("isoclinic"),
            "networks": {kind: asdict(network.config) for kind, network in self.networks.items()},
            "record": asdict(self.record),
        }
        write_tensors(path, tensors, header)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Networks, in evaluation mode on the CPU, and record of a file.

        Raises:
            InputError: the file is missing, damaged, something else, or does not fit this version.
            UsageError: it holds a "pose_regressor", and MONAI (`isoclinic[train]`) is not installed.
        """
        header, tensors = read_tensors(path, _FORMAT, "an isoclinic model")
        if header.get("version") != _VERSION:
            raise InputError(
                f"model {path} has version {header.get('version')!r} of the format, this program reads "
                f"{_VERSION}; update isoclinic or train the model again",
                code="model.other-version",
            )
        configs = header.get("networks")
        if not isinstance(configs, dict) or not set(configs) <= set(_KINDS):
            raise InputError(
                f"model {path}: networks must be some of {', '.join(_KINDS)}", code="model.invalid-value"
            )
        written_by = header.get("isoclinic_version")
        return cls(
            networks={kind: _network(kind, config, tensors, path) for kind, config in configs.items()},
            record=_restored(TrainingRecord, header.get("record"), f"model {path}: record"),
            isoclinic_version=written_by if isinstance(written_by, str) else None,
        )

    def check_fit(self, camera: Camera, volume_sha256: str | None, volume: Volume | None = None) -> None:
        """Refuse a CT or detector geometry that the networks have not been trained for.

        Raises:
            InputError: they differ; the message says in what.
        """
        differences = self.record.differences(camera, volume_sha256, volume)
        if differences:
            raise InputError(
                f"the model does not fit: {'; '.join(differences)}. Train one for this CT and X-ray "
                "(isoclinic train), or register without a model",
                code="model.unsuitable",
            )


def _share_in_view(trained: Camera, camera: Camera) -> float:
    """Share of the rays in training that hit another camera's detector."""
    u = torch.arange(trained.width, dtype=torch.float64)
    v = torch.arange(trained.height, dtype=torch.float64)
    across = camera.fx * (u - trained.cx) / trained.fx + camera.cx
    down = camera.fy * (v - trained.cy) / trained.fy + camera.cy
    columns = ((across > -0.5) & (across < camera.width - 0.5)).double().mean()
    rows = ((down > -0.5) & (down < camera.height - 0.5)).double().mean()
    return float(columns * rows)


def _field_of_view(camera: Camera) -> str:
    angles = (
        math.degrees(2 * math.atan(side / (2 * abs(focal))))
        for side, focal in ((camera.width, camera.fx), (camera.height, camera.fy))
    )
    return "{:.1f} x {:.1f} deg".format(*angles)


def _network(kind: str, config: Any, tensors: dict[str, Tensor], path: Path) -> Network:
    """Network of that kind and configuration with its weights."""
    network_type, config_type = _KINDS[kind]
    # Initial weights are drawn and replaced; whoever loads a model keeps the state of the generator.
    with torch.random.fork_rng(devices=[]):
        network = network_type(_restored(config_type, config, f"model {path}: {kind}"))
    weights = {
        name.removeprefix(f"{kind}."): value for name, value in tensors.items() if name.startswith(f"{kind}.")
    }
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    stored = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in shapes.keys() | stored.keys() if shapes.get(name) != stored.get(name))
    if wrong:
        name = wrong[0]
        raise InputError(
            f"model {path}: {len(wrong)} weights do not fit the {kind}, the first being {name}: "
            f"{stored.get(name, 'missing')} in the file, {shapes.get(name, 'nothing')} in the network",
            code="model.wrong-shape",
        )
    network.load_state_dict(weights)
    return network.eval()


def _restored(kind: type[T], value: Any, label: str) -> T:
    """Dataclass from what `asdict` and JSON made of it, every field present and of its type."""
    hints = get_type_hints(kind)
    every = fields(kind)  # type: ignore[arg-type]
    names = [field.name for field in every]
    # Files of older versions lack what has been added since.
    needed = {field.name for field in every if field.name not in _ADDED.get(kind.__name__, ())}
    if not isinstance(value, dict) or not needed <= set(value) <= set(names):
        raise InputError(f"{label} must have exactly the fields {', '.join(names)}", code="model.malformed")
    settings = {}
    for name in value:
        hint, entry = hints[name], value[name]
        nested = next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)
        if isinstance(nested, type) and not (entry is None and hint is not nested):
            settings[name] = _restored(nested, entry, f"{label}.{name}")
            continue
        try:
            settings[name] = check_type(
                _tuples(entry), hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS
            )
        except TypeCheckError as error:
            raise InputError(f"{label}.{name} is {entry!r}: {error}", code="model.malformed") from error
    try:
        return kind(**settings)
    except IsoclinicError as error:
        raise InputError(f"{label}: {error}", code="model.malformed") from error


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples, at any depth."""
    if isinstance(value, list):
        return tuple(_tuples(entry) for entry in value)
    return {key: _tuples(entry) for key, entry in value.items()} if isinstance(value, dict) else value
