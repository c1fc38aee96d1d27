"""The tables of published evaluations, each by a name: which data, starts, methods and networks they take.

The numbers in such a table depend on data that this library does not bring; what is fixed here is how they
are measured, so that whoever has the data needs one command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import UsageError
from ..training import PoseConfig, TrainConfig
from .methods.registry import PAPER
from .starts import WITHOUT_POSE

DatasetKind = Literal["deepfluoro", "ljubljana", "ctspine1k"]
PATIENT_SPECIFIC, PATIENT_AGNOSTIC = "patient-specific", "patient-agnostic"

_PERCENTS = tuple(f"mtre_mm_p{percent}" for percent in (25, 50, 75, 95))
_COLUMNS = (*_PERCENTS, "success_below_mm_1", "run_time_s_p50")


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table.

    Attributes:
        dataset: kind of the data set.
        networks: whether every subject has a model of its own, or all share one that has seen none of them.
        what: the data set and what its X-rays show, for people to read.
        image: what one of its X-rays is called.
        subject: what one of its patients is called.
        starts: names of the starts.
        methods: names of the methods that are compared; those whose package is missing are left out.
        poses: views that networks are trained on.
        columns: of the summary, in the table's order; see `summary_document`.
    """

    dataset: DatasetKind
    networks: Literal["patient-specific", "patient-agnostic"]
    what: str
    image: str
    subject: str
    starts: tuple[str, ...] = (WITHOUT_POSE,)
    methods: tuple[str, ...] = (PAPER, "isoclinic", "isoclinic-single", "xvr", "diffdrr", "cmaes")
    poses: PoseConfig = field(default_factory=PoseConfig)
    columns: tuple[str, ...] = _COLUMNS

    @property
    def name(self) -> str:
        """By which it is asked for."""
        return f"{self.dataset}-{self.networks}"

    @property
    def kind(self) -> str:
        """What it shows, for people to read, without numbers."""
        models = "a model for each" if self.networks == PATIENT_SPECIFIC else "models of other patients"
        return f"{self.what}: {self.image}s of {self.subject}s, {models}"

    def title(self, images: int, subjects: int, training: TrainConfig | None = None) -> str:
        """What has been run, for people to read.

        Args:
            images: X-rays that were registered.
            subjects: whose they are.
            training: of the models, where they were trained for the table.
        """
        models = "a model for each" if self.networks == PATIENT_SPECIFIC else "models of other patients"
        if training is not None:
            length = (
                f"{training.minutes:g} minutes" if training.images is None else f"{training.images:,} X-rays"
            )
            models = f"{models}, of {length}"
        return f"{self.what}: {_counted(images, self.image)} of {_counted(subjects, self.subject)}, {models}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


# AP and lateral views; whether the lateral ones are taken from the left or the right is not documented.
_ANGIOGRAPHY = PoseConfig(primary_reach_deg=110.0, secondary_reach_deg=10.0, source_isocentre_mm=750.0)


def _both(
    dataset: DatasetKind, what: str, image: str, subject: str, poses: PoseConfig
) -> tuple[PublishedTable, ...]:
    networks: tuple[Literal["patient-specific", "patient-agnostic"], ...] = (
        "patient-specific",
        "patient-agnostic",
    )
    return tuple(
        PublishedTable(dataset=dataset, networks=each, what=what, image=image, subject=subject, poses=poses)
        for each in networks
    )


_TABLES = (
    *_both("deepfluoro", "DeepFluoro, pelvis", "fluoroscopic image", "specimen", PoseConfig()),
    *_both("ljubljana", "Ljubljana, cerebral angiograms", "image", "patient", _ANGIOGRAPHY),
    *_both("ctspine1k", "CTSpine1k, lumbar spine", "simulated X-ray", "CT", PoseConfig()),
)
PUBLISHED_TABLES = {table.name: table for table in _TABLES}


def published_table(name: str) -> PublishedTable:
    """The table of that name.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    if name not in PUBLISHED_TABLES:
        raise UsageError(
            f"there is no table {name!r}; there are {', '.join(PUBLISHED_TABLES)}",
            code="evaluation.unknown-name",
        )
    return PUBLISHED_TABLES[name]
