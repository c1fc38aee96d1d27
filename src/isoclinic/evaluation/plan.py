"""The plan of an evaluation: which samples of a data set, by which methods, into which folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets import Dataset
from ..errors import InputError, UsageError
from .config import EvaluationConfig
from .methods import Method


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An evaluation to be done.

    Attributes:
        dataset: the data set that is evaluated.
        name: name of the data set, for reports.
        samples: subjects of its samples to register, by their names; see `chosen_samples`.
        methods: for each subject; they have the same names for all.
        output: folder for every pose and measurement, in cases/SAMPLE/START/METHOD.
        config: the starts, and where the registrations run.
    """

    dataset: Dataset
    name: str
    samples: Mapping[str, str]
    methods: Mapping[str, Sequence[Method]]
    output: Path
    config: EvaluationConfig


def chosen_samples(
    dataset: Dataset, subjects: Sequence[str] | None = None, at_most: int | None = None
) -> dict[str, str]:
    """Subjects of samples, by the samples' names, subject by subject.

    Args:
        dataset: to choose from.
        subjects: whose samples are taken; all when None.
        at_most: samples of each subject, the first ones; all when None.

    Raises:
        UsageError: a subject that the data set does not have, or no sample of each.
        InputError: there is no sample.
    """
    if at_most is not None and at_most < 1:
        raise UsageError(
            f"at least 1 sample of each subject must be taken, not {at_most}", code="evaluation.invalid-value"
        )
    chosen = dataset.subjects if subjects is None else subjects
    found = {name: subject for subject in chosen for name in dataset.names_of(subject)[:at_most]}
    if not found:
        raise InputError("the data set holds no sample of these subjects", code="dataset.empty")
    return found
