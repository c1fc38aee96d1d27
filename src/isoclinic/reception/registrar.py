"""The registration of one received X-ray, and the folder of its result."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from .._files import writing
from .._folders import new_folder
from .._json import dumps
from ..errors import InputError
from ..geometry import se3
from ..networks import Checkpoint
from ..provenance import InputFile, Provenance, settings_digest
from ..registration import FollowConfig, RegistrationConfig, RegistrationResult, Session
from ..registration._follow import FOLLOWED
from ..registration._register import Model
from ..registration.views import camera_from_gantry
from ..results import RESULT_FILES, Registered, check_not_diverged
from ..results.files import result_files_in_steps
from ..solver import Status
from ..volumes import GeometryWarning, Volume, XRay, XRayOptions
from .spool import ReceivedImage, now, sync_folder

# The line of a result, in its folder: it appears with the folder.
LINE = "result.json"


def _same(message: str) -> str:
    return message


@dataclass(frozen=True, kw_only=True, eq=False)
class ReceptionPlan:
    """To what, and how, X-rays are registered.

    Attributes:
        volume: the CT.
        volume_file: the file or folder it was read from.
        init: where the first X-ray starts, and each one that is lost; see `isoclinic.register`.
        model: networks; see `isoclinic.register`.
        model_file: the file of networks that were trained for this CT.
        files: other files that results depend on, by the parameter that named them.
        xray_options: how X-rays are read.
        registration: how they are registered.
        follow: how they are followed.
        command: the command line, for pose files.
        wording: what makes of the parameters that a message names what the reader knows.
    """

    volume: Volume
    volume_file: InputFile
    init: Any = None
    model: Model | None = None
    model_file: InputFile | None = None
    files: Mapping[str, InputFile]
    xray_options: XRayOptions
    registration: RegistrationConfig
    follow: FollowConfig
    command: str | None = None
    wording: Callable[[str], str] = _same

    @property
    def settings(self) -> str:
        """A digest of what a session's state depends on."""
        others = {name: each.sha256 for name, each in self.files.items()}
        configs = [asdict(each) for each in (self.registration, self.follow, self.xray_options)]
        return settings_digest([__version__, self.volume_file.sha256, others, configs])


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The result of an X-ray, before it is written.

    Attributes:
        image: the X-ray as received.
        folder: for the result.
        result: of the registration.
        said: what is to be told of the X-ray, besides doubts.
        line: what `result.json` in the folder will say: a document for programs.
        state: `Registrar.state` after this X-ray.
    """

    image: ReceivedImage
    folder: Path
    result: RegistrationResult
    said: list[str]
    line: dict[str, Any]
    state: dict[str, Any]


class Registrar:
    """Registers X-rays of one patient, in turn: each from the last pose where that may be relied on.

    An X-ray that does not match there begins like the first one, from `ReceptionPlan.init`: the C-arm may
    have been turned to another view. Where headers say how it was turned, the last pose turns with it.

    Args:
        plan: to what, and how.
    """

    def __init__(self, plan: ReceptionPlan) -> None:
        self._plan = plan
        self._session = Session(plan.volume, plan.registration, model=plan.model, follow=plan.follow)
        # Where the header of the last X-ray that may be relied on says that the C-arm stood.
        self._gantry: Tensor | None = None

    def state(self) -> dict[str, Any]:
        """What the next X-ray is followed from, as JSON can hold it."""
        gantry = None if self._gantry is None else self._gantry.tolist()
        return {"settings": self._plan.settings, "session": self._session.state(), "gantry": gantry}

    def restore(self, state: Mapping[str, Any] | None) -> bool:
        """Go on from a `state` of the same CT and settings; whether it is one.

        Raises:
            InputError: it is damaged.
        """
        if state is None or state.get("settings") != self._plan.settings:
            return False
        self._session.restore(state["session"], self._plan.init)
        gantry = state.get("gantry")
        self._gantry = None if gantry is None else torch.tensor(gantry, dtype=torch.float64)
        return True

    def find(self, image: ReceivedImage, folder: Path) -> Found:
        """Register an X-ray; nothing is written.

        Args:
            image: the X-ray as received.
            folder: where `write` will put its result.

        Raises:
            IsoclinicError: the X-ray cannot be read or registered.
        """
        plan = self._plan
        with _recorded(plan.wording) as said:
            xray = XRay.read(image.path, plan.xray_options)
            if isinstance(plan.model, Checkpoint):
                plan.model.check_fit(xray.camera, plan.volume_file.sha256, plan.volume)
            result = self._found(xray)
            check_not_diverged(result)
        line = self._line(image, result, said, folder)
        return Found(image=image, folder=folder, result=result, said=said, line=line, state=self.state())

    def write(self, found: Found) -> Iterator[None]:
        """Write the result of an X-ray in steps, after the last of which it is on disk, whole.

        Until then there is nothing under its name. Other X-rays may be found between two steps.

        Args:
            found: what `find` has returned; its folder does not exist.

        Raises:
            IsoclinicError: the result cannot be written.
        """
        plan = self._plan
        registered = Registered(
            volume=plan.volume,
            result=found.result,
            config=plan.registration,
            provenance=Provenance(
                volume=plan.volume_file,
                xrays=[InputFile.of(found.image.path)],
                model=plan.model_file,
                files=plan.files,
                command=plan.command,
            ),
        )
        with new_folder(found.folder, overwrite=False, known=RESULT_FILES | {LINE}) as building:
            yield from result_files_in_steps(building, registered, warnings=found.said)
            (building / LINE).write_text(dumps(found.line) + "\n", encoding="utf-8")
            _sync(building)
        with writing(found.folder):
            sync_folder(found.folder.parent)

    def _found(self, xray: XRay) -> RegistrationResult:
        session, init = self._session, self._plan.init
        gantry = camera_from_gantry(xray)
        last = session.last_pose
        if last is None:
            result = session.register(xray, init)
        else:
            result = self._followed(xray, self._starts(last, gantry))
        if _reliable(result):
            self._gantry = gantry
        return result

    def _followed(self, xray: XRay, starts: Tensor) -> RegistrationResult:
        """From the last pose, and where that leads to no match, like the first X-ray."""
        try:
            result = self._session.follow(xray, starts)
        except InputError:
            # The start may see nothing of the CT; if the X-ray is at fault, the same is said of it again.
            return self._session.register(xray, self._plan.init)
        if _reliable(result):
            return result
        again = self._session.register(xray, self._plan.init)
        return max(again, result, key=lambda each: (_reliable(each), each.confidence.edges))

    def _starts(self, last: Tensor, gantry: Tensor | None) -> Tensor:
        """The last pose, turned with the C-arm where headers say that it turned, and as it was [B, 4, 4]."""
        if gantry is None or self._gantry is None or torch.equal(gantry, self._gantry):
            return last[None]
        return torch.stack([gantry @ se3.inverse(self._gantry) @ last, last])

    def _line(
        self, image: ReceivedImage, result: RegistrationResult, said: list[str], folder: Path
    ) -> dict[str, Any]:
        wording = self._plan.wording
        camera = result.cameras[0]
        finished_at = now()
        return {
            **line_of(image, "done", finished_at),
            "status": result.status,
            "doubts": [wording(each) for each in result.confidence.doubts],
            "expected_error_mm": result.confidence.stated_error_mm,
            "camera_from_world": result.camera_from_world.tolist(),
            "camera": {
                "width": camera.width,
                "height": camera.height,
                "sdd_mm": camera.sdd_mm,
                "pixel_spacing_mm": list(camera.pixel_spacing_mm),
                "principal_point_px": [camera.cx, camera.cy],
            },
            "followed": result.attempt.start == FOLLOWED,
            "warnings": said,
            "output": str(folder),
        }


def line_of(image: ReceivedImage, state: str, finished_at: str) -> dict[str, Any]:
    """What is told of every image: which one it is, and the time from its arrival to its result [s]."""
    taken = datetime.fromisoformat(finished_at) - datetime.fromisoformat(image.received_at)
    return {
        "number": image.number,
        "sha256": image.digest,
        "source": image.source,
        "received_at": image.received_at,
        "finished_at": finished_at,
        "seconds": taken.total_seconds(),
        "state": state,
    }


def is_reliable(line: Mapping[str, Any]) -> bool:
    """Whether a line tells a pose without doubts."""
    return line["state"] == "done" and line["expected_error_mm"] is not None and not line["doubts"]


def finished_line(folder: Path, image: ReceivedImage) -> dict[str, Any] | None:
    """The line of an image whose result `Registrar.write` has written; None where it has not.

    Raises:
        InputError: the folder holds the result of another image, or cannot be read.
    """
    try:
        line: dict[str, Any] = json.loads((folder / LINE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder / LINE} cannot be read ({error}); move {folder} away", code="reception.damaged"
        ) from error
    if not isinstance(line, dict) or line.get("sha256") != image.digest:
        raise InputError(
            f"{folder} holds the result of another image; move it away", code="reception.damaged"
        )
    return line


def _reliable(result: RegistrationResult) -> bool:
    return not result.confidence.doubts and result.status not in (Status.DOUBTFUL, Status.DIVERGED)


def _sync(folder: Path) -> None:
    """See to it that a folder's files are on the disk."""
    with writing(folder):
        for file in folder.rglob("*"):
            if file.is_file():
                with file.open("rb+") as stream:
                    os.fsync(stream.fileno())
        sync_folder(folder)


@contextmanager
def _recorded(wording: Callable[[str], str]) -> Iterator[list[str]]:
    """What is to be told of an X-ray; each time, also where the last one was the same.

    Other warnings, such as those of the DICOM library, may quote values of the header: they are dropped.
    """
    said: list[str] = []
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        yield said
    said += [wording(str(each.message)) for each in given if issubclass(each.category, GeometryWarning)]
