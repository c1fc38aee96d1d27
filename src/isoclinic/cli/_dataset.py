"""Which data set `isoclinic evaluate` reads, and what belongs to each of its subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from ..datasets import CTSpine1kConfig, DeepFluoroConfig, LjubljanaConfig
from ..errors import UsageError
from ..volumes import XRayOptions
from ._options import FLAT

if TYPE_CHECKING:
    from ..datasets import CaseFolder, Dataset

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What is read, and how.

    Attributes:
        dataset: what the source is: a folder of "cases", the file of "deepfluoro" or "ljubljana", or the
            folder that isoclinic dataset prepare made of "ctspine1k"; "auto" looks into it.
        volume: the CT of all cases, or SUBJECT=CT for each subject; a subject is the name of the folder that
            its cases lie in. Cases whose truth.json names their CT, and other data sets, need no such option.
        xray_options: how to read the X-rays of cases.
        deepfluoro: how to read DeepFluoro.
        ljubljana: how to read Ljubljana.
        ctspine1k: how to read CTSpine1K.
    """

    dataset: Literal["auto", "cases", "deepfluoro", "ljubljana", "ctspine1k"] = "auto"
    volume: tuple[str, ...] = ()
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    deepfluoro: DeepFluoroConfig = field(default_factory=DeepFluoroConfig)
    ljubljana: LjubljanaConfig = field(default_factory=LjubljanaConfig)
    ctspine1k: CTSpine1kConfig = field(default_factory=CTSpine1kConfig)

    def open(self, source: Path, subjects: Sequence[str] | None = None) -> tuple[str, Dataset]:
        """Kind and data set of a file or folder.

        Args:
            source: the file or folder.
            subjects: that must have a CT; all when None.

        Raises:
            InputError: it is missing, damaged or something else.
            UsageError: options that do not go with it.
        """
        # They take torch with them, which options do without.
        from ..datasets import CTSpine1k, DeepFluoro, Ljubljana, dataset_kind

        kind = dataset_kind(source) if self.dataset == "auto" else self.dataset
        if kind != "cases" and self.volume:
            raise UsageError(
                f"--volume: {source} is {kind}, which brings its CTs; leave the option out",
                code="options.conflict",
            )
        if kind == "deepfluoro":
            return kind, DeepFluoro(source, self.deepfluoro)
        if kind == "ljubljana":
            return kind, Ljubljana(source, self.ljubljana)
        if kind == "ctspine1k":
            return kind, CTSpine1k(source, self.ctspine1k)
        return kind, self._cases(source, subjects)

    def _cases(self, source: Path, subjects: Sequence[str] | None) -> CaseFolder:
        from ..datasets import CaseFolder

        found = CaseFolder(source, {})
        lacking = [each for each in subjects or found.subjects if each not in found.volumes]
        volumes = by_subject(
            "--volume", "CT", self.volume, found.subjects, Path, needed=lacking, code="dataset.ct-missing"
        )
        return CaseFolder(source, volumes, self.xray_options)


def by_subject(
    option: str,
    what: str,
    items: Sequence[str],
    subjects: Sequence[str],
    describe: Callable[[str], T],
    *,
    needed: Sequence[str] | None = None,
    code: str,
) -> Mapping[str, T]:
    """What every subject has, from an option that takes FILE or SUBJECT=FILE.

    Args:
        option: its name.
        what: it takes.
        items: its values.
        subjects: that there are.
        describe: makes the result of a file.
        needed: subjects that must have something; all when None.
        code: of the error about a subject that has nothing.

    Raises:
        UsageError: a subject that there is not, or one that has nothing.
    """
    of_all: list[T] = []
    of_subject: dict[str, T] = {}
    for item in items:
        subject, equals, path = item.partition("=")
        if not equals or Path(item).exists():
            of_all = [describe(item)]
        elif subject not in subjects:
            raise UsageError(
                f"{option} {item}: no such subject; there are {', '.join(subjects)}",
                code="options.unknown-name",
            )
        else:
            of_subject[subject] = describe(path)
    found = {subject: each for subject in subjects for each in of_all} | of_subject
    wanted = subjects if needed is None else [subject for subject in subjects if subject in needed]
    missing = [subject for subject in wanted if subject not in found]
    if missing:
        raise UsageError(
            f"no {what} for the cases in {missing[0]!r}: add {missing[0]}={what.upper()} to {option}",
            code=code,
        )
    return found
