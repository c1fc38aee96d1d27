"""What is in the file: contents, pictures, nothing from outside, nothing unescaped."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imread

from isoclinic.errors import InputError
from isoclinic.solver import Status
from isoclinic.viewer import (
    CheckRow,
    ConvergenceStage,
    ErrorRow,
    GeometryRow,
    ReportLandmarks,
    ReportView,
    edge_overlay,
    mask_contours,
    write_report,
)
from raising import raises

from .report_cases import MASKED, ap_view, camera_of, lateral_view, report, stored_images, structure

HOSTILE = """<script>alert("1")</script>' & <img src=x onerror=alert(2)> $title ${style}"""
VOID = {"meta", "link", "img", "input"}


@dataclass
class Page(HTMLParser):
    """Tags with their attributes, the texts, and the attributes that load or lead somewhere."""

    text: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.unclosed.pop() == tag

    def handle_data(self, data):
        if self.unclosed and self.unclosed[-1] not in ("script", "style") and data.strip():
            self.texts.append(data.strip())

    def attributes(self, *names: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags for name in names if name in attrs]

    def rows(self, heading: str) -> list[list[str]]:
        """Texts of the rows of the table under a heading."""
        section = self.text[self.text.index(f"<h2>{heading}</h2>") :]
        section = section[: section.index("</section>")]
        return [re.findall(r">([^<]+)<", row) for row in section.split("<tr>")[1:]]


def page(tmp_path: Path, **changes) -> Page:
    path = tmp_path / "report.html"
    write_report(path, report(**changes))
    assert list(tmp_path.iterdir()) == [path]
    return Page(path.read_text(encoding="utf-8"))


def pixels(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return imread(BytesIO(base64.b64decode(data)))


def test_all_that_was_said_is_there(tmp_path: Path):
    written = page(tmp_path)
    for text in (
        "A pelvis",
        "Converged",
        "all starts agree",
        "the field of view is truncated",
        "isoclinic register xray.dcm --volume 'my ct.nii.gz' --output result",
        "/home/me/case 1",
        "Research software, not a medical device.",
        "32 x 32 px",
        "pelvis",
        "AP",
        "Lateral",
    ):
        assert text in written.texts
    assert written.unclosed == []
    assert "$" not in re.sub(r"<script>.*</script>", "", written.text, flags=re.S)


def test_tables(tmp_path: Path):
    """Landmarks: (3, 4) pixels of 0.5 x 1 mm apart at the result, (13, 14) at the start."""
    written = page(tmp_path)
    assert written.rows("Expected error") == [
        ["expected"],
        ["overall", "at the landmarks", "0.84 mm"],
        ["depth", "0.42 mm"],
        ["down", "unknown"],
        ["rotation", "0.30 deg"],
    ]
    assert re.findall(r'<i style="width: ([\d.]+)%', written.text) == ["100.0", "50.0"]
    assert written.rows("Inputs and geometry")[1] == [
        "sdd_mm",
        "1020",
        "DistanceSourceToDetector (0018,1110)",
    ]
    assert written.rows("Landmarks, AP")[1:] == [
        ["left hip", f"{np.hypot(6.5, 14):.2f} mm", f"{np.hypot(1.5, 4):.2f} mm"],
        ["behind", "unknown", "unknown"],
        ["root mean square", f"{np.hypot(6.5, 14):.2f} mm", f"{np.hypot(1.5, 4):.2f} mm"],
    ]
    assert written.rows("Checks")[1:] == [["edges correlate", "0.97", "below 0.62"]]
    assert written.rows("Structures one by one")[1:] == [
        ["L4", "converged", "2.0 deg; 1.0, 0.0, -3.0 mm", "0.50 mm", "4.00 mm", "87%"],
        ["L5", "doubtful", "0.0 deg; 0.0, 0.0, 0.0 mm", "unknown", "unknown", "0%"],
    ]
    # What cannot be relied on stands out.
    assert written.text.count('<td class="state doubtful">') == 1


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (Status.CONVERGED, "Converged"),
        (Status.MAX_STEPS, "Not settled"),
        (Status.DOUBTFUL, "Doubtful"),
        (Status.DIVERGED, "Diverged"),
    ],
)
def test_status(tmp_path: Path, status: Status, name: str):
    written = page(tmp_path, status=status)
    assert name in written.texts
    assert f"{name}: A pelvis" in written.texts  # the window's title
    assert written.attributes("data-status") == [status]
    headline = " ".join(
        re.findall(r">([^<]+)", written.text[written.text.index('class="headline"') - 1 :])[:3]
    )
    assert headline.startswith("Expected error:  0.84 mm")


def test_what_is_not_known_takes_no_room(tmp_path: Path):
    written = page(
        tmp_path,
        views=[lateral_view()],
        **dict.fromkeys(("reasons", "errors", "structures", "checks", "geometry", "warnings", "stages"), ()),
        command="",
    )
    assert "<h2>" not in written.text and "tabs" not in written.attributes("class")
    labels = {attrs["name"]: attrs for tag, attrs in written.tags if tag == "input"}
    hidden = set(re.findall(r'<label hidden><input type="checkbox" name="([\w-]+)"', written.text))
    assert hidden == {"mask", "landmarks", "names", "contours"} < labels.keys()


def test_every_stage_is_drawn_from_its_own_start(tmp_path: Path):
    """From 1 at the upper left to its share at the right; names with dollar signs stay what they are."""
    stages = [ConvergenceStage(name="$x$", cost=[4.0, 2.0, 1.0]), ConvergenceStage(name="still", cost=[3.0])]
    written = page(tmp_path, stages=stages)
    courses = re.findall(r'<polyline class="course" points="([^"]*)"', written.text)
    assert courses == ["14.0,6.0 65.0,31.0 116.0,43.5", "14.0,6.0"]
    assert "$x$" in written.texts
    assert "$x$: the cost falls to 25% of its start in 2 steps" in written.attributes("aria-label")


def test_what_is_beyond_verdict_error_and_picture_is_folded(tmp_path: Path):
    """A reader meets verdict, error, reasons and picture, and opens the rest."""
    text = page(tmp_path).text
    first = text[: text.index("<details")]
    for word in ("Converged", "0.84 mm", "all starts agree", 'class="stage"'):
        assert word in first
    for heading in (
        "Expected error",
        "Structures one by one",
        "Checks",
        "Convergence",
        "Inputs and geometry",
    ):
        assert re.search(rf"<details><summary><h2>{heading}</h2>", text)
    assert "<details open" not in text
    assert re.search(
        r"<details[^>]*><summary>1 warning</summary><ul><li>the field of view is truncated", text
    )


def test_edges_of_bone_take_the_place_of_those_of_all_tissue(tmp_path: Path):
    view = lateral_view()
    bones = {name: mask_image(view, rows) for name, rows in (("start", 20), ("result", 60))}
    written = page(tmp_path, views=[replace(view, start_bones=bones["start"], result_bones=bones["result"])])
    images = {attrs["class"]: attrs for tag, attrs in written.tags if tag == "img"}
    for kind, name in (("edges-start", "start"), ("overlaid edges-result", "result")):
        drawn = pixels(images[kind]["src"])[..., 3] > 0
        expected = edge_overlay(np.zeros(view.xray.shape), bones[name], np.ones(view.xray.shape, bool))
        np.testing.assert_array_equal(drawn, expected.any(axis=-1))
    assert "Bone edges of the result" in written.texts and "Edges of the result" in page(tmp_path).texts


def mask_image(view: ReportView, rows: int) -> np.ndarray:
    image = np.zeros(view.xray.shape)
    image[rows : rows + 20, 20:50] = 1
    return image


def test_text_from_outside_stays_text(tmp_path: Path):
    shape = ap_view().xray.shape
    point = np.array([[5.0, 5.0]])
    view = replace(
        ap_view(),
        name=HOSTILE,
        landmarks=ReportLandmarks(names=[HOSTILE], start_px=point, result_px=point, given_px=point),
        contours={HOSTILE: mask_contours(np.ones(shape))},
    )
    written = page(
        tmp_path,
        title=HOSTILE,
        reasons=[HOSTILE],
        warnings=[HOSTILE],
        command=HOSTILE,
        views=[view, view],
        errors=[ErrorRow(name=HOSTILE, value=1.0, unit=HOSTILE, note=HOSTILE)],
        geometry=[GeometryRow(name=HOSTILE, value=HOSTILE, source=HOSTILE)],
        structures=[structure(name=HOSTILE, moved=HOSTILE)],
        checks=[CheckRow(name=HOSTILE, value=HOSTILE, limit=HOSTILE)],
        folder=HOSTILE,
        stages=[ConvergenceStage(name=HOSTILE, cost=[2.0, 1.0])],
    )
    assert [tag for tag, _ in written.tags].count("script") == 1
    assert not written.attributes("onerror")
    assert set(written.attributes("aria-label")) >= {HOSTILE}
    # The page title, tabs, captions, legends, names beside the marks, tables and all the rest.
    assert sum(HOSTILE in text for text in written.texts) >= 26


def test_nothing_is_loaded(tmp_path: Path):
    written = page(tmp_path)
    places = written.attributes("src", "href", "xlink:href", "srcset", "action", "poster", "data")
    assert places and all(place.startswith(("data:", "#")) for place in places)
    assert not re.search(r"@import|url\((?!#)", written.text)
    (policy,) = [attrs["content"] for _, attrs in written.tags if "http-equiv" in attrs]
    (script,) = re.findall(r"<script>(.*)</script>", written.text, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )


def test_the_pictures_are_the_images(tmp_path: Path):
    """Edges are those of the overlay picture; what does not count is tinted by how little it does."""
    view = ap_view()
    written = page(tmp_path, views=[view])
    images = {attrs["class"]: attrs for tag, attrs in written.tags if tag == "img"}
    for name, expected in stored_images(view).items():
        np.testing.assert_array_equal(pixels(images[name]["src"]), expected)
        assert images[name]["alt"]
    for pose, kind in (("start", "edges-start"), ("result", "overlaid edges-result")):
        image = getattr(view, pose)
        low, high = np.percentile(image, (1, 99))
        outlined = np.clip((image - low) / (high - low), 0, 1)
        expected = edge_overlay(np.zeros(image.shape), outlined, view.weight > 0).any(axis=-1)
        assert expected.any()
        np.testing.assert_array_equal(pixels(images[kind]["src"])[..., 3] / 255, expected)
    opacity = pixels(images["mask"]["src"])[..., 3]
    assert (opacity[MASKED] == round(255 * 0.45)).all()
    assert (opacity[:, 30:] == 0).all()


def test_a_full_view_of_noise_is_small_enough(tmp_path: Path):
    """Noise of 1 % on the X-ray; nothing compresses worse that is still a picture."""
    generator = np.random.default_rng(0)
    rows, columns = np.indices((640, 640))
    smooth = 4 * np.exp(-((rows - 300) ** 2 + (columns - 350) ** 2) / 2e5)
    xray = smooth * generator.normal(1, 0.01, smooth.shape)
    view = ReportView(name="AP", xray=xray, start=smooth.T, result=smooth, camera=camera_of((640, 640)))
    page(tmp_path, views=[view])
    assert (tmp_path / "report.html").stat().st_size < 1e6


def test_the_same_report_is_the_same_file(tmp_path: Path):
    assert page(tmp_path).text == page(tmp_path).text


def test_marks_lie_where_they_should(tmp_path: Path):
    """Landmarks that are not finite are left out, and so are the lines to them."""
    svg = page(tmp_path, views=[ap_view()]).text.partition('<svg class="marks"')[2].partition("</svg>")[0]
    groups = dict(re.findall(r'<g class="landmarks (\w+)">(.*?)</g>(?=<g class|$)', svg))
    places = {kind: re.findall(r"translate\(([\d. ]+)\)", group) for kind, group in groups.items()}
    assert places == {
        "start": ["40.00 20.00", "90.00 70.00"],
        "result": ["50.00 30.00", "100.00 60.00"],
        "given": ["53.00 34.00", "10.00 10.00"],
    }
    assert re.findall(r'residual" d="([^"]*)"', groups["start"]) == ["M53.00 34.00L40.00 20.00"]
    assert re.findall(r'residual" d="([^"]*)"', groups["result"]) == ["M53.00 34.00L50.00 30.00"]
    assert svg.startswith(' viewBox="-0.5 -0.5 128 96"')


def test_outlines_of_a_mask():
    """A disc is outlined to within half a pixel, its hole as well."""
    rows, columns = np.indices((100, 120))
    distance = np.hypot(rows - 50, columns - 70)
    outer, inner = mask_contours((distance < 30) & (distance > 10))
    for outline, radius in ((outer, 30), (inner, 10)):
        np.testing.assert_array_equal(outline[0], outline[-1])
        from_centre = np.hypot(outline[:, 0] - 70, outline[:, 1] - 50)
        np.testing.assert_allclose(from_centre, radius, atol=0.75)


def test_outlines_follow_the_level_between_pixels():
    """A ramp of 1 mm a pixel reaches 2.25 mm a quarter of a pixel right of its third column."""
    ramp = np.tile(np.arange(8.0), (6, 1))
    (outline,) = mask_contours(ramp, level=2.25)
    assert outline[:, 0].min() == pytest.approx(2.25)


def test_outlines_are_closed_at_the_border():
    """Half way between the outermost pixels and the nothing around them."""
    (outline,) = mask_contours(np.ones((10, 20), bool))
    np.testing.assert_array_equal(outline[0], outline[-1])
    assert (*outline.min(axis=0), *outline.max(axis=0)) == (-0.5, -0.5, 19.5, 9.5)
    assert mask_contours(np.zeros((10, 20), bool)) == []


def test_what_does_not_fit_is_refused(tmp_path: Path):
    with raises(InputError, "picture.incomplete", "view"):
        report(views=[])
    view = lateral_view()
    for name, said in (("xray", "X-ray"), ("start", "DRR at the start"), ("result", "DRR")):
        with raises(InputError, "picture.wrong-shape", said, "80", "112"):
            replace(view, **{name: view.xray.T})
    with raises(InputError, "picture.wrong-shape", "1", "80"):
        replace(view, weight=view.xray[:1])
    points = np.zeros((2, 2))
    with raises(InputError, "picture.wrong-shape", "given_px", "2", "3"):
        ReportLandmarks(names=["a", "b"], start_px=points, result_px=points, given_px=np.zeros((3, 2)))
    with raises(InputError, "output.unwritable"):
        write_report(tmp_path / "nowhere" / "report.html", report())
    assert list(tmp_path.iterdir()) == []
