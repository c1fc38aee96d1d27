"""The public names: nothing appears or disappears unnoticed, and all of them can be used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import isoclinic

TOP = {
    *("Camera", "InputError", "IsoclinicError", "Registered", "RegistrationConfig", "RegistrationResult"),
    *("RenderConfig", "UsageError", "Volume", "XRay", "XRayOptions", "default_model", "line_integrals"),
    *("register", "render", "render_structures", "render_with_jacobian", "write_pose", "write_result"),
    "Session",
}
ROOMS = {
    *("anatomy", "batches", "datasets", "evaluation", "exchange", "geometry", "inspection", "models"),
    *("live", "networks", "reception"),
    *("registration", "rendering", "results", "sequences", "similarity", "simulation", "solver", "training"),
    *("viewer", "volumes"),
}
REGISTRATION = {
    *("AnyViewConfig", "Confidence", "ConfidenceConfig", "InitialPose", "IntrinsicsConfig"),
    *("IntrinsicsRefinement", "LandmarkPairs", "LandmarkPose", "LearnedConfig", "PRESETS", "PartialConfig"),
    *("PoseFile", "RegistrationConfig", "RegistrationResult", "SearchConfig", "Stage", "StructureResult"),
    *("StructuresConfig", "View", "ViewRefinement", "pose_from_landmark_files", "pose_from_landmarks"),
    *("read_initial_pose", "register", "register_structures", "register_views", "views_from_angles"),
    *("views_from_file", "views_from_poses", "FollowConfig", "Session"),
    *("TrackConfig", "TrackedFrame", "Tracker"),
}
EVALUATION = {
    *("Evaluation", "EvaluationConfig", "Measurement", "Method", "MethodResult", "Plan", "PublishedTable"),
    *("ReportConfig", "StatisticsConfig", "chosen_samples", "evaluate", "method_named", "published_table"),
    *("read_evaluation", "write_report"),
}
TRAINING = {
    *("AcquisitionConfig", "Batch", "CTRegressorPhase", "CanonicalPhase", "EncoderPhase", "OptimizerConfig"),
    *("PoseConfig", "RandomizationConfig", "RegressorPhase", "SimulationStream", "StreamConfig", "Subject"),
    *("ToneConfig", "TrainConfig", "Trainer", "TrainingData"),
}
RESULTS = {
    *("RESULT_FILES", "Registered", "Target", "ViewPictures", "check_not_diverged", "document_of", "drr"),
    *("picture_of", "pose_file", "report_of", "structure_pose_file", "targets_of", "verdict"),
    *("view_pictures", "write_course", "write_document", "write_overlays", "write_pose", "write_report"),
    *("write_result", "write_result_files", "write_structures", "write_transform"),
}
SEQUENCES = {
    *("Frame", "FrameRecord", "Frames", "Joint", "Ledger", "RelativeMotion", "SEQUENCE_FILES"),
    *("SequenceConfig", "SequencePlan", "StructureRecord", "TrackedSequence", "joints_of"),
    *("relative_motion", "sequence_verdict", "track_sequence", "write_sequence"),
}
RECEPTION = {"Listener", "ReceivedImage", "ReceptionConfig", "Registrar", "Spool"}
LIVE = {"LiveConfig", "LivePage", "LivePlan"}
BATCHES = {
    *("Batch", "BatchPlan", "BatchRow", "BatchRows", "RowOutcome", "batch_verdict", "read_table"),
    *("register_batch", "rows_in_folder"),
}


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("isoclinic", TOP | ROOMS),
        ("isoclinic.registration", REGISTRATION),
        ("isoclinic.evaluation", EVALUATION),
        ("isoclinic.training", TRAINING),
        ("isoclinic.results", RESULTS),
        ("isoclinic.sequences", SEQUENCES),
        ("isoclinic.reception", RECEPTION),
        ("isoclinic.live", LIVE),
        ("isoclinic.batches", BATCHES),
    ],
)
def test_the_names_are_these(module, names):
    assert set(import_module(module).__all__) == names


def test_no_more_than_users_need():
    assert len(REGISTRATION) + len(EVALUATION) + len(TRAINING) <= 65


@pytest.mark.parametrize("room", ["", *sorted(ROOMS)])
def test_every_name_is_listed_by_dir_and_can_be_used(room):
    module = import_module(f"isoclinic.{room}".rstrip("."))
    names = getattr(module, "__all__", ())
    assert set(names) <= set(dir(module))
    for name in names:
        assert getattr(module, name) is not None


def test_a_name_that_there_is_not():
    assert not hasattr(isoclinic, "no_such_name")


def test_functions_are_not_hidden_by_modules_of_their_names():
    """Whichever module of a room is imported first."""
    import_module("isoclinic.registration._run")
    import_module("isoclinic.rendering.outline")
    assert callable(isoclinic.register) and callable(isoclinic.registration.register)
    assert callable(isoclinic.render) and callable(isoclinic.rendering.render)
    for stub in Path(isoclinic.__file__).parent.rglob("__init__.pyi"):
        room = import_module(
            ".".join(["isoclinic", *stub.parent.relative_to(Path(isoclinic.__file__).parent).parts])
        )
        modules = {path.stem for path in stub.parent.glob("*.py")}
        functions = set(room.__all__) - ROOMS
        assert not functions & modules, f"{room.__name__} has a module and a name alike"
