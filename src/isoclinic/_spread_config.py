"""Where tasks run: options only, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SpreadConfig:
    """Where tasks run.

    Attributes:
        processes: number of processes on this machine; they share its cores.
        ray: address of a Ray cluster to run on instead: "auto" for the one this machine belongs to, "local"
            to start one here, "host:port" or "ray://host:port". Its machines need this library and the same
            paths.
        threads: number of threads of each task, wherever it runs. Results of different numbers of threads
            differ in their last digits. By default processes share the cores evenly, and Ray counts one core
            a task.
        retries: number of further attempts for a task whose process or machine was lost.
    """

    processes: int = 1
    ray: str | None = None
    threads: int | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        if min(self.processes, 1 if self.threads is None else self.threads) < 1 or self.retries < 0:
            raise UsageError(
                f"processes and threads must be at least 1 and retries not negative, not {self.processes}, "
                f"{self.threads} and {self.retries}",
                code="spread.invalid-value",
            )
        if self.ray is not None and self.processes > 1:
            raise UsageError(
                "choose one of processes and ray: a Ray cluster starts its processes itself",
                code="spread.conflict",
            )
