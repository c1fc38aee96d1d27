"""What a page is told about a workspace, as JSON holds it."""

from __future__ import annotations

from typing import Any

from ..registration.initialize import ANY
from ..viewer.overlay import TILES
from .registering import Running
from .scene import Scene, SceneView, structure_labels
from .state import GivenFile, Rows, WorkspaceState
from .workspace import Workspace


def page_document(workspace: Workspace, running: Running) -> dict[str, Any]:
    """Everything that a page shows, but pictures."""
    state, scene = workspace.state, workspace.scene
    document = state.document()
    step = state.step
    document |= {
        "output": str(workspace.plan.output),
        "ready": scene.ready and step is not None,
        "doing": workspace.doing,
        "inputs": list(_inputs(state, scene)),
        "views": [
            _view(state, scene, index, view)
            for index, view in enumerate(scene.shown)
            if scene.view_from_first is not None
        ],
        "isocentre": None if scene.volume is None else scene.volume.isocentre_world.tolist(),
        "pose": None if step is None else step.camera_from_world,
        "reference": _reference(state),
        "starts": workspace.starts(scene),
        "unknown": step is not None and step.init == ANY,
        "structures": [] if scene.volume is None else structure_labels(scene.volume),
        "running": running.document(),
        "tiles": TILES,
        "moving_px": workspace.plan.live.moving_px,
        "resting_px": workspace.plan.live.resting_px,
    }
    document["steps"] = [each.label for each in state.steps]
    document["ct_grid"] = None
    if scene.volume is not None:
        slices = workspace.slices()
        document["ct_grid"] = {
            "shape": slices.shape,
            "spacing_mm": slices.spacing_mm,
            "world_from_index": slices.world_from_index.tolist(),
        }
    return document


def _inputs(state: WorkspaceState, scene: Scene) -> Any:
    """Every file with what reading it has told."""
    given: list[tuple[str, str, GivenFile | None]] = [("ct", "ct", state.ct)]
    given += [("xray", f"xray-{index}", each) for index, each in enumerate(state.xrays)]
    given += [("labels", "labels", state.labels), ("views", "views", state.views)]
    for kind, key, file in given:
        told = scene.told.get(key)
        if file is None and told is None:
            continue
        problem = None if told is None else told.problem
        yield {
            "kind": kind,
            "key": key,
            "name": "by the C-arm angles" if file is None else file.name,
            "given": file is not None,
            "rows": [] if told is None else told.rows,
            "warnings": [] if told is None else told.warnings,
            "problem": None if problem is None else problem.document(),
        }


def _view(state: WorkspaceState, scene: Scene, index: int, view: SceneView) -> dict[str, Any]:
    camera, relative = view.picture.camera, scene.view_from_first
    assert relative is not None
    return {
        "name": state.xrays[index].name,
        "width": camera.width,
        "height": camera.height,
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "sdd_mm": camera.sdd_mm,
        "view_from_first": relative[index].tolist(),
        "stored_from_picture": view.stored_from_picture.tolist(),
        "counts": bool(view.counts.all()),
    }


def _reference(state: WorkspaceState) -> Rows | None:
    """The pose that turns are told from: the last start before the pose in use."""
    for step in reversed(state.steps[: state.current + 1]):
        if step.init or step.label.startswith("start"):
            return step.camera_from_world
    return state.steps[0].camera_from_world if state.steps else None
