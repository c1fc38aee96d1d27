"""Terminal, report, JSON document and pose files say the same of the same poses."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from isoclinic import RegistrationConfig, _json
from isoclinic.cli._register_tables import print_tables
from isoclinic.provenance import InputFile, Provenance
from isoclinic.registration import PoseFile, RegistrationResult, StructureResult, register
from isoclinic.results import (
    Registered,
    document_of,
    targets_of,
    verdict,
    write_pose,
    write_report,
    write_structures,
    write_transform,
)
from isoclinic.solver import Status
from phantoms import error_mm

from ..registration.test_learned import FAST, NEAR, TRUTH, VOLUME, XRAY

MADE_FROM = Provenance(
    volume=InputFile(path="ct.nii.gz", sha256="0" * 64), xrays=[InputFile(path="xray.dcm", sha256="1" * 64)]
)
OUTPUT = Path("result")
REPORT = OUTPUT / "report.html"
# Which voxels are whose does not matter here.
LABELS = (np.arange(VOLUME.hu.size) % 3).astype(np.uint8).reshape(VOLUME.shape)
LABELLED = VOLUME.with_labels(LABELS, {1: "hip", 2: "rib"})
MINUS_ZERO = re.compile(r"-0(\.0*)?(?![\d.])")
# Pictures, drawings, styles and scripts of the report.
NOT_WORDS = re.compile(r"data:[^\"']*|<svg.*?</svg>|<style.*?</style>|<script.*?</script>", re.DOTALL)
DOUBT = "X-ray and CT hardly match around it: they correlate by 0.31, below 0.6"


@pytest.fixture(scope="module")
def result() -> RegistrationResult:
    found = register(VOLUME, XRAY, NEAR, FAST)
    assert found.status is Status.CONVERGED and error_mm(VOLUME, found.camera_from_world, TRUTH) < 0.5
    return found


def structure(name: str, *doubts: str, similarity: float = 0.9, moved_mm: float = 2.0) -> StructureResult:
    """One that moved to the right in the image."""
    pose = NEAR.clone()
    pose[0, 3] += moved_mm
    return StructureResult(
        structure=(name,),
        camera_from_world=pose,
        overall_camera_from_world=NEAR,
        centroid_world=torch.zeros(3, dtype=torch.float64),
        status=Status.DOUBTFUL if doubts else Status.CONVERGED,
        similarity=similarity,
        visible=0.8,
        covariance=torch.eye(6, dtype=torch.float64),
        expected_error_mm=(0.3, 0.4),
        doubts=doubts,
        trace=(),
        seconds=0.0,
    )


def registered(result: RegistrationResult, *structures: StructureResult) -> Registered:
    return Registered(
        volume=LABELLED,
        xrays=[XRAY],
        result=result,
        config=RegistrationConfig(),
        provenance=MADE_FROM,
        structures=structures,
        targets=targets_of({"tip": np.zeros(3)}, VOLUME, result),
    )


class Said:
    """What every output says of a registration."""

    def __init__(self, given: Registered, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        console = Console(width=200, record=True, file=io.StringIO())
        print_tables(console, given, str(OUTPUT), "`init`")
        self.terminal = console.export_text()
        write_report(folder / "report.html", given)
        self.report = (folder / "report.html").read_text(encoding="utf-8")
        self.document = json.loads(_json.dumps(document_of(given, OUTPUT)))
        write_pose(folder / "pose.json", given)
        write_transform(folder / "transform.tfm", given)
        write_structures(folder, given)
        self.pose = PoseFile.read(folder / "pose.json")
        self.structures = {
            each.name: PoseFile.read(folder / "structures" / each.name / "pose.json")
            for each in given.structures
        }
        self.files = "".join(
            path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".tfm")
        )

    def row(self, name: str) -> list[str]:
        """Cells of a row of the terminal's tables."""
        (line,) = (line for line in self.terminal.splitlines() if line.startswith(f"│ {name} "))
        return [cell.strip() for cell in line.strip("│").split("│")]

    def reported(self, name: str) -> list[str]:
        """Cells of a row of the report's tables."""
        row = re.search(rf'<th scope="row">{name}.*?</tr>', self.report, re.DOTALL)
        assert row is not None
        return re.findall(r"<td[^>]*>([^<]*)", row[0])


def test_a_result_without_doubt(result, tmp_path):
    said = Said(registered(result, structure("hip")), tmp_path)
    error = result.confidence.expected_error_mm
    assert said.pose.expected_error_mm == said.document["confidence"]["expected_error_mm"] == error
    assert said.pose.doubts == () and said.document["confidence"]["doubts"] == []
    assert said.row("expected error")[1] == said.reported("overall")[0] == f"{error:.2f} mm"
    assert said.structures["hip"].status is Status.CONVERGED
    assert said.structures["hip"].expected_error_mm == pytest.approx(0.5)
    assert said.document["structures"]["hip"]["expected_error_mm"] == {"across": 0.3, "depth": 0.4}
    assert said.row("hip")[4] == "0.3, 0.4"
    assert said.reported("hip")[2:4] == ["0.30 mm", "0.40 mm"]
    assert 'data-status="converged"' in said.report
    *across, depth = result.confidence.expected_error_by_axis_mm
    parts = f"{math.hypot(*across):.2f} mm across the beam, {depth:.2f} mm in depth"
    expected = f"converged, expected error {error:.2f} mm ({parts}) -> result/report.html"
    assert verdict(registered(result), REPORT) == expected


def test_a_doubtful_result(result, tmp_path):
    doubted = result.doubted("another pose matches about as well", "the CT covers little")
    said = Said(registered(doubted), tmp_path)
    reasons = ("another pose matches about as well", "the CT covers little")
    assert said.pose.status is Status.DOUBTFUL and said.document["status"] == "doubtful"
    assert said.pose.doubts == reasons and tuple(said.document["confidence"]["doubts"]) == reasons
    assert said.pose.expected_error_mm is None
    for name in ("expected_error_mm", "expected_error_by_axis_mm", "expected_rotation_deg"):
        assert said.document["confidence"][name] is None
    assert said.document["targets"]["tip"]["expected_error_mm"] is None
    assert said.row("expected error")[1] == said.row("tip")[2] == "unknown"
    assert said.row("expected error")[2] == "; ".join(reasons)
    assert {said.reported(name)[0] for name in ("overall", "depth", "rotation", "tip")} == {"unknown"}
    assert all(f"<li>{reason}</li>" in said.report for reason in reasons)
    assert 'data-status="doubtful"' in said.report
    line = "DOUBTFUL: another pose matches about as well -> result/report.html"
    assert verdict(registered(doubted), REPORT) == said.document["verdict"] == line


def test_a_doubtful_structure(result, tmp_path):
    given = registered(result, structure("hip"), structure("rib", DOUBT, similarity=0.31))
    said = Said(given, tmp_path)
    assert said.structures["rib"].status is Status.DOUBTFUL and said.structures["rib"].doubts == (DOUBT,)
    assert said.structures["rib"].expected_error_mm is None
    entry = said.document["structures"]["rib"]
    assert (entry["status"], entry["doubts"], entry["expected_error_mm"]) == ("doubtful", [DOUBT], None)
    assert said.row("rib")[1] == "doubtful" and said.row("rib")[4] == "unknown"
    assert said.reported("rib")[2:4] == ["unknown", "unknown"]
    assert f"<small>{DOUBT}</small>" in said.report and f"<li>rib: {DOUBT}</li>" in said.report
    assert 'data-status="doubtful"' in said.report, "one of the poses that were asked for must not be used"
    # The CT as a whole is not the worse for it.
    assert said.pose.status is Status.CONVERGED and said.pose.doubts == ()
    assert given.doubtful and given.doubts == (f"rib: {DOUBT}",)
    assert verdict(given, REPORT) == f"DOUBTFUL: rib: {DOUBT} -> result/report.html"


def test_a_structure_that_was_not_registered(result, tmp_path):
    said = Said(
        registered(result, structure("rib", "the X-ray hardly shows it", similarity=math.nan)), tmp_path
    )
    assert said.structures["rib"].similarity is said.document["structures"]["rib"]["similarity"] is None
    assert said.row("rib")[5] == ""


def test_a_diverged_structure_is_no_result_to_rely_on(result):
    diverged = replace(structure("rib", "its registration diverged"), status=Status.DIVERGED)
    assert registered(result, diverged).doubtful


def test_nothing_says_minus_zero(result, tmp_path):
    """Neither where a number is -0.0 nor where it is rounded to it."""
    pose = result.camera_from_world.clone()
    pose[:3, :3] = torch.tensor([[1.0, -0.0, 0.0], [0.0, 1.0, -0.0], [-0.0, 0.0, 1.0]])
    still = replace(result, camera_from_world=pose, cameras_from_world=pose[None], similarity=-0.0)
    still = replace(still, initial=replace(still.initial, camera_from_world=pose))
    said = Said(
        registered(still, structure("hip", moved_mm=-0.0), structure("rib", moved_mm=-0.04)), tmp_path
    )
    for name, text in vars(said).items():
        if isinstance(text, str):
            words = NOT_WORDS.sub("", text)
            assert not MINUS_ZERO.search(words), name
    assert said.row("hip")[3] == "0.0, 0.0, 0.0" and said.row("rib")[3] == "0.0, 0.0, 0.0"
    document = _json.dumps({"a": [-0.0, (1, -0.0)], "b": True, "c": None, "d": "-0.0", "e": -1.5, "f": 3})
    assert json.loads(document) == {
        "a": [0.0, [1, 0.0]],
        "b": True,
        "c": None,
        "d": "-0.0",
        "e": -1.5,
        "f": 3,
    }
    assert document.count("-0.0") == 1
    with pytest.raises(ValueError, match="JSON"):
        _json.dumps([math.nan])
