"""The tables of published evaluations, each by a name: which data, starts, methods and networks they take.

The numbers in such a table depend on data that this library does not bring; what is fixed here is how they
are measured, so that whoever has the data needs one command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import UsageError
from ..training import PoseConfig
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
        title: what it shows, for people to read.
        starts: names of the starts.
        methods: names of the methods that are compared.
        poses: views that patient-specific networks are trained on.
        columns: of the summary, in the table's order; see `summary_document`.
    """

    dataset: DatasetKind
    networks: Literal["patient-specific", "patient-agnostic"]
    title: str
    starts: tuple[str, ...] = (WITHOUT_POSE,)
    methods: tuple[str, ...] = ("isoclinic", "isoclinic-single")
    poses: PoseConfig = field(default_factory=PoseConfig)
    columns: tuple[str, ...] = _COLUMNS

    @property
    def name(self) -> str:
        """By which it is asked for."""
        return f"{self.dataset}-{self.networks}"


# AP and lateral views; whether the lateral ones are taken from the left or the right is not documented.
_ANGIOGRAPHY = PoseConfig(primary_reach_deg=110.0, secondary_reach_deg=10.0, source_isocentre_mm=750.0)

_TABLES = (
    PublishedTable(
        dataset="deepfluoro",
        networks="patient-specific",
        title="DeepFluoro, pelvis: 366 fluoroscopic images of 6 specimens, a model for each",
    ),
    PublishedTable(
        dataset="deepfluoro",
        networks="patient-agnostic",
        title="DeepFluoro, pelvis: 366 fluoroscopic images of 6 specimens, one model for all",
    ),
    PublishedTable(
        dataset="ljubljana",
        networks="patient-specific",
        title="Ljubljana, cerebral angiograms: 20 images of 10 patients, a model for each",
        poses=_ANGIOGRAPHY,
    ),
    PublishedTable(
        dataset="ljubljana",
        networks="patient-agnostic",
        title="Ljubljana, cerebral angiograms: 20 images of 10 patients, one model for all",
    ),
    PublishedTable(
        dataset="ctspine1k",
        networks="patient-specific",
        title="CTSpine1k, lumbar spine: simulated X-rays of each CT, a model for each",
    ),
    PublishedTable(
        dataset="ctspine1k",
        networks="patient-agnostic",
        title="CTSpine1k, lumbar spine: simulated X-rays of each CT, one model for all",
    ),
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
