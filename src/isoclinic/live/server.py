"""The live page's server: a Starlette application on 127.0.0.1, behind a guard."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .._optional import require
from ..errors import InputError, IsoclinicError, UsageError
from ..geometry import PatientSides
from ..results.names import POSE, REPORT, TRANSFORM
from ..viewer.html import environment, resource
from .actions import Actions
from .document import page_document
from .events import Hub
from .guard import Guard, TooLarge, new_token
from .journal import RESULTS
from .plan import LivePlan
from .registering import Registering
from .state import numbers, rows
from .uploads import Inbox
from .workspace import Workspace

HOST = "127.0.0.1"
_PAGE = "page"
# The files of the page, with their types.
_FILES: Mapping[str, str] = {
    "style.css": "text/css",
    **dict.fromkeys(
        (
            *("main.js", "server.js", "pose.js", "stage.js", "hand.js", "files.js", "panel.js", "marks.js"),
            *("slices.js", "masks.js", "compare.js"),
        ),
        "text/javascript",
    ),
}
_RESULT_FILES: Mapping[str, str] = {
    REPORT: "text/html",
    POSE: "application/json",
    TRANSFORM: "text/plain",
}
# How long the end of a registration that was cancelled is waited for [s].
_PATIENCE_S = 10.0
_CONFLICTS = ("view.conflict", "view.busy")


class LivePage:
    """A live page that is served while `run` is called; a context at whose end everything is closed.

    Args:
        plan: what the page is made for.

    Raises:
        UsageError: starlette or uvicorn is not installed, or as for `Workspace`.
        InputError: the port is taken, or as for `Workspace`.
    """

    def __init__(self, plan: LivePlan) -> None:
        require("starlette", extra="view")
        uvicorn = require("uvicorn", extra="view")
        self._listening = _listening(plan.live.port)
        try:
            self.workspace = Workspace(plan, self._tell)
        except BaseException:
            self._listening.close()
            raise
        port, token = int(self._listening.getsockname()[1]), new_token()
        self._address = f"http://{HOST}:{port}/{token}/"
        self.registering = Registering(self.workspace, self._tell)
        self._application = Application(
            self.workspace, self.registering, lambda: bool(self._server.should_exit)
        )
        config = uvicorn.Config(
            Guard(self._application.starlette(), token, port),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=3,
        )
        self._server = uvicorn.Server(config)

    @property
    def address(self) -> str:
        """The address of the page, with its token; whoever knows it may use the page."""
        return self._address

    def __enter__(self) -> LivePage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self) -> None:
        """Serve until `stop` is called or a signal arrives.

        Raises:
            KeyboardInterrupt: a signal has arrived.
        """
        self._server.run(sockets=[self._listening])

    def stop(self) -> None:
        """End `run`; may be called by any thread."""
        self._server.should_exit = True

    def close(self) -> None:
        """Cancel what runs, and let others use the port and the folder."""
        self.registering.cancel()
        self.registering.wait(_PATIENCE_S)
        self._listening.close()
        self.workspace.close()

    def _tell(self) -> None:
        self._application.hub.tell()


def _listening(port: int) -> socket.socket:
    # By its protocol asyncio knows that answers are to be sent at once: otherwise each waits for 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":  # there it would let another program listen, too
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
        return listening
    except OSError as error:
        listening.close()
        raise InputError(
            f"`port` {port} cannot be listened on: {error.strerror or error}; choose another",
            code="view.cannot-listen",
        ) from error


class Application:
    """What a page asks for, answered.

    Args:
        workspace: behind the page.
        registering: what registers.
        ended: whether the program ends.
    """

    def __init__(self, workspace: Workspace, registering: Registering, ended: Callable[[], bool]) -> None:
        self._workspace = workspace
        self._registering = registering
        self._inbox = Inbox(workspace.journal, workspace.plan.live)
        self._actions = Actions(workspace, self._inbox)
        self.hub = Hub(self._news, ended)

    def starlette(self) -> Any:
        """The application for a server."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        def get(path: str, answer: Callable[..., Any]) -> Any:
            return Route(path, answer, methods=["GET"])

        def post(path: str, answer: Callable[..., Any]) -> Any:
            return Route(path, answer, methods=["POST"])

        application = Starlette(
            routes=[
                get("/", self._index),
                get("/page/{name}", self._file),
                get("/state", self._state),
                get("/events", self._events),
                get("/xray/{view:int}", self._xray),
                get("/counts/{view:int}", self._counts),
                get("/converging/{view:int}", self._converging),
                get("/slice/{plane}/{index:int}", self._slice),
                get("/projection/{plane}", self._projection),
                get("/point/{plane}", self._point),
                get("/results/{number:int}/{name}", self._result),
                post("/frame", self._frame),
                post("/change", self._change),
                post("/register", self._register),
                post("/cancel", self._cancel),
                post("/save-pose", self._save_pose),
                post("/batch", self._batch),
                Route("/batch/{batch}", self._upload, methods=["PUT"]),
            ],
            exception_handlers={IsoclinicError: self._told, TooLarge: self._too_large},
        )
        application.router.redirect_slashes = False  # the token would be missing there
        return application

    def _news(self) -> dict[str, Any]:
        state = self._workspace.state
        return {
            "revision": state.revision,
            "doing": self._workspace.doing,
            "running": self._registering.running.document(),
        }

    async def _told(self, request: Any, error: Exception) -> Any:
        """An error as the page shows it; it is no fault of the server."""
        from starlette.responses import JSONResponse

        assert isinstance(error, IsoclinicError)
        message = self._workspace.plan.wording(str(error))
        status = 409 if error.code in _CONFLICTS else 422
        return JSONResponse({"message": message, "code": error.code}, status_code=status)

    async def _too_large(self, request: Any, error: Exception) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse({"message": "too much at once", "code": "view.too-large"}, status_code=413)

    async def _index(self, request: Any) -> Any:
        from starlette.responses import HTMLResponse

        templates = environment("isoclinic.live", _PAGE)
        return HTMLResponse(templates.get_template("index.html").render(version=__version__))

    async def _file(self, request: Any) -> Any:
        from starlette.responses import Response

        name = request.path_params["name"]
        if name not in _FILES:
            return Response(status_code=404)
        text = resources.files(__package__).joinpath(_PAGE, name).read_text(encoding="utf-8")
        if name == "style.css":
            text = resource("style.css") + text
        return Response(text, media_type=_FILES[name])

    def _state(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse(page_document(self._workspace, self._registering.running))

    async def _events(self, request: Any) -> Any:
        from starlette.responses import StreamingResponse

        return StreamingResponse(self.hub.listen(), media_type="text/event-stream")

    def _xray(self, request: Any) -> Any:
        view = self._view(request)
        return _pixels(self._workspace.scene.shown[view].image.astype(np.uint8))

    def _counts(self, request: Any) -> Any:
        counts = self._workspace.scene.shown[self._view(request)].counts
        return _pixels(np.where(counts, np.uint8(255), np.uint8(0)))

    def _converging(self, request: Any) -> Any:
        frames = self._registering.running.frames
        view = request.path_params["view"]
        if view >= len(frames):
            return _nothing()
        return _pixels(frames[view].image, frames[view].edges)

    def _slice(self, request: Any) -> Any:
        slices = self._workspace.slices()
        return _pixels(slices.slice(request.path_params["plane"], request.path_params["index"]).image)

    def _projection(self, request: Any) -> Any:
        return _pixels(self._workspace.slices().projection(request.path_params["plane"]).image)

    def _point(self, request: Any) -> Any:
        """Where a point of a plane is: its indices, and its place in the world."""
        from starlette.responses import JSONResponse

        slices, query = self._workspace.slices(), request.query_params
        try:
            column, row = float(query["u"]), float(query["v"])
            index = float(query["index"]) if "index" in query else None
        except (KeyError, ValueError) as error:
            raise UsageError("a point has u and v", code="view.invalid-request") from error
        place = slices.index_of(request.path_params["plane"], numbers([column, row], 2), index)
        world = (slices.world_from_index @ [*place, 1.0])[:3]
        return JSONResponse({"index": list(place), "point_world": world.tolist()})

    def _result(self, request: Any) -> Any:
        """A file of a result that was saved."""
        from starlette.responses import FileResponse, Response

        number, name = request.path_params["number"], request.path_params["name"]
        saved = {each.number for each in self._workspace.state.results}
        path = self._workspace.journal.folder / RESULTS / f"{number:04}" / name
        if number not in saved or name not in _RESULT_FILES or not path.is_file():
            return Response(status_code=404)
        # The report carries a stricter policy of its own, with styles and pictures inside.
        headers = {"content-security-policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
        return FileResponse(path, media_type=_RESULT_FILES[name], headers=headers)

    async def _frame(self, request: Any) -> Any:
        from starlette.concurrency import run_in_threadpool

        asked = await _json(request)
        return await run_in_threadpool(self._rendered, asked)

    def _rendered(self, asked: Mapping[str, Any]) -> Any:
        """The CT at a pose that a page shows; nothing where it has asked for a newer one, or cannot be."""
        workspace, frames = self._workspace, self._workspace.frames
        if frames is None or self._registering.running.active:
            return _nothing()
        view, number, pixels = numbers([asked.get("view"), asked.get("number"), asked.get("pixels")], 3)
        scene, live = workspace.scene, workspace.plan.live
        if not (0 <= view < len(scene.shown) and 8 <= pixels <= live.resting_px):
            raise UsageError("there is no such view, or not of that size", code="view.invalid-request")
        browser, index = str(asked.get("browser"))[:40], int(view)
        if not frames.wanted(browser, index, int(number)):
            return _nothing()
        pose = workspace.rigid(rows(asked.get("pose"), 4, 4))
        if self._registering.running.active or not frames.wanted(browser, index, int(number)):
            return _nothing()
        own = scene.poses(pose)[index]
        frame = frames.render(index, own, int(pixels), "bone" if asked.get("bone") is True else "all")
        sides = PatientSides.of(scene.shown[index].picture.camera, own)
        return _pixels(frame.image, frame.edges, sides=",".join(sides))

    async def _change(self, request: Any) -> Any:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse

        asked = await _json(request)
        said = await run_in_threadpool(self._actions.do, asked)
        state = await run_in_threadpool(page_document, self._workspace, self._registering.running)
        return JSONResponse({**said, "state": state})

    async def _register(self, request: Any) -> Any:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse

        asked = await _json(request)
        await run_in_threadpool(self._registering.begin, asked.get("revision"))
        return JSONResponse({"begun": True})

    async def _cancel(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        self._registering.cancel()
        return JSONResponse({"cancelled": True})

    def _save_pose(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse({"path": str(self._actions.save_pose())})

    def _batch(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse({"batch": self._inbox.begin()})

    async def _upload(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        name = str(request.query_params.get("name", ""))[:500]
        await self._inbox.receive(request.path_params["batch"], name or "file", request.stream())
        return JSONResponse({"received": name})

    def _view(self, request: Any) -> int:
        view = int(request.path_params["view"])
        if view >= len(self._workspace.scene.shown):
            raise UsageError("there is no such X-ray", code="view.invalid-request")
        return view


async def _json(request: Any) -> dict[str, Any]:
    """The document that a request carries.

    Raises:
        UsageError: it is none.
    """
    try:
        document = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise UsageError("a request must be JSON", code="view.invalid-request") from error
    if not isinstance(document, dict):
        raise UsageError("a request must be a JSON object", code="view.invalid-request")
    return document


def _nothing() -> Any:
    from starlette.responses import Response

    return Response(status_code=204)


def _pixels(*images: NDArray[Any], **more: str) -> Any:
    """Grey pictures of one size, byte by byte, one after another."""
    from starlette.responses import Response

    height, width = images[0].shape
    headers = {
        "x-width": str(width),
        "x-height": str(height),
        **{f"x-{key}": each for key, each in more.items()},
    }
    content = b"".join(np.ascontiguousarray(each, dtype=np.uint8).tobytes() for each in images)
    return Response(content, media_type="application/octet-stream", headers=headers)
