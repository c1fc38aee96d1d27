"""Work on the page in headless Chromium: files, landmarks, masks, bones, a registration, two windows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from isoclinic.geometry import se3
from isoclinic.registration import PoseFile

from ..cli.conftest import CAMERA, true_pose
from .conftest import Served
from .opened_page import OpenedPage, until

pytestmark = pytest.mark.slow  # each starts or drives a browser

POINTS = np.random.default_rng(4).uniform(-45, 45, (4, 3))


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., OpenedPage]]:
    opened: list[OpenedPage] = []

    def start(served: Served, **options) -> OpenedPage:
        opened.append(OpenedPage(browser, served, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def pixels(points) -> np.ndarray:
    """Where the true pose shows points of the CT."""
    return CAMERA.project(torch.from_numpy(np.asarray(points)), true_pose()).numpy()


def test_by_hand_from_a_wrong_start_to_a_saved_pose(open_page, serve, files):
    """No file on the command line; a start that is 30 mm and 20 degrees off is put right by eye and hand."""
    served = serve("--config", files.config)
    opened = open_page(served)
    page = opened.page
    assert page.locator("#headline").text_content() == "Give a CT and an X-ray"
    assert page.locator("#register").is_disabled()
    opened.after(lambda: page.set_input_files("#file-ct", str(files.ct)))
    opened.after(lambda: page.set_input_files("#file-xray", str(files.xray)))
    opened.sharp()
    assert page.locator("#headline").text_content() == "Not registered"
    start = se3.perturb(
        true_pose(), torch.tensor([0, 0, 0.35, 30.0, -10.0, 0.0]).double(), torch.zeros(3).double()
    )
    wrong = {"name": "wrong.json", "mimeType": "application/json"}
    wrong["buffer"] = json.dumps(start.tolist()).encode()
    opened.after(lambda: page.set_input_files("#pose-file", wrong))
    # The hand puts the centre where it belongs, and turns the picture upright.
    truth = pixels(np.zeros((1, 3)))[0]
    opened.after(lambda: opened.drag(opened.centre(), truth))
    middle, angle = opened.centre(), -0.33
    ends = middle + 20 * np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    opened.after(lambda: opened.drag(*ends, keys=("Control",), steps=6))
    page.get_by_role("button", name="Register from this pose").click()
    page.locator("#result .verdict").wait_for(timeout=60_000)
    state = opened.state
    assert (state["running"]["error"], len(state["results"])) == (None, 1)
    assert page.locator("#headline").text_content() == "Converged"
    assert page.get_attribute("body", "data-status") == "converged"
    # The link leads to what was saved, which is right.
    saved = served.page.workspace.journal.folder / "results" / "0001"
    found = PoseFile.read(saved / "pose.json").camera_from_world
    assert float((found - true_pose())[:2, 3].norm()) < 1 and found.tolist() == state["pose"]
    with opened.context.expect_page() as popup:
        page.get_by_role("link", name="report").click()
    popup.value.wait_for_selector("html.ready")
    assert "converged" in popup.value.locator(".status").inner_text().lower()
    # A pose that is moved afterwards is not registered any more.
    opened.stage().focus()
    opened.after(lambda: page.keyboard.press("ArrowRight"))
    assert page.locator("#headline").text_content() == "Not registered"
    assert page.get_attribute("body", "data-status") == ""
    opened.after(lambda: page.keyboard.press("z"))
    assert page.locator("#headline").text_content() == "Converged"


def test_enter_registers_and_the_pose_is_seen_converging(open_page, served: Served):
    opened = open_page(served)
    opened.page.evaluate("""() => {
      window.stages = [];
      new MutationObserver(() => stages.push(document.getElementById("stage").textContent))
        .observe(document.getElementById("stage"), { childList: true });
    }""")
    opened.stage().focus()
    opened.page.keyboard.press("Enter")
    opened.page.locator("#result .verdict").wait_for(timeout=60_000)
    assert any(each.startswith("refining") for each in opened.page.evaluate("stages"))
    assert opened.page.locator("#progress").is_hidden()


def test_files_warnings_and_faults_are_seen(open_page, serve, files, tmp_path):
    served = serve(files.ct)
    opened = open_page(served)
    page = opened.page
    (tmp_path / "bad.dcm").write_bytes(b"no X-ray")
    opened.after(lambda: page.set_input_files("#file-xray", str(tmp_path / "bad.dcm")))
    problem = page.locator('[data-key="xray-0"] .problem')
    assert "[" in problem.text_content() and problem.is_visible()
    assert page.locator("#headline").text_content() == "A file cannot be used"
    opened.after(lambda: page.get_by_role("button", name="Remove bad.dcm").click())
    # A picture without its geometry: it can be typed.
    xray = np.linspace(1000, 60000, 4096).astype(np.uint16).reshape(64, 64)
    Image.fromarray(xray).save(tmp_path / "x.png")
    opened.after(lambda: page.set_input_files("#file-xray", str(tmp_path / "x.png")))
    assert "xray.geometry-missing" in page.locator('[data-key="xray-0"] .problem').text_content()
    page.locator("#reading > summary").click()
    page.fill('[name="sdd_mm"]', "1000")
    for index in range(2):
        page.locator('[name="pixel_spacing_mm"]').nth(index).fill("3")
    opened.after(lambda: page.get_by_role("button", name="Read again").click())
    assert page.locator('[data-key="xray-0"] .problem').count() == 0
    # What had to be assumed is told in full.
    assert page.locator('[data-key="xray-0"] .odd li').count() >= 1
    page.locator('[data-key="xray-0"] summary').click()
    assert page.locator('[data-key="xray-0"] td').filter(has_text="1000").first.is_visible()
    page.select_option('[name="turn"]', "90")
    opened.after(lambda: page.get_by_role("button", name="Read again").click())
    assert opened.state["reading"]["turn"] == 90
    page.fill('[name="sdd_mm"]', "-4")
    page.get_by_role("button", name="Read again").click()
    page.locator("#message:visible").wait_for()
    assert "--sdd-mm" in opened.message()
    page.get_by_role("button", name="Close this message").click()
    assert page.locator("#message").is_hidden()
    opened.expected.append("422")


def test_files_can_be_dropped(open_page, serve, files):
    opened = open_page(serve())
    content = files.xray.read_bytes()
    transfer = opened.page.evaluate_handle(
        """([name, text]) => {
          const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], name));
          return transfer;
        }""",
        ["x.dcm", __import__("base64").b64encode(content).decode()],
    )
    opened.after(lambda: opened.page.dispatch_event('[data-kind="xray"]', "drop", {"dataTransfer": transfer}))
    assert [each["name"] for each in opened.state["xrays"]] == ["x.dcm"]
    assert opened.state["inputs"][0]["problem"] is None


def test_landmarks_are_marked_in_both_and_give_a_start(open_page, served: Served):
    opened = open_page(served)
    page = opened.page
    opened.open("marks")
    grid = np.array(served.state["ct_grid"]["world_from_index"])
    assert page.locator("#landmark-start").is_disabled()
    opened.choose("#hand", "hand", "mark")
    for count, point in enumerate(POINTS):
        opened.after(lambda: page.get_by_role("button", name="Add a landmark").click())
        pixel = pixels(point[None])[0]
        opened.after(lambda pixel=pixel: page.mouse.click(*opened.on_screen(pixel)))
        # In the CT: the axial slice by its slider, then the place in it.
        right, front, head = np.rint(np.linalg.inv(grid) @ [*point, 1])[:3]
        page.get_by_label("axial slice").fill(str(int(head)))
        canvas = page.locator("#planes canvas").first
        shown, number = page.locator("#planes output").first, f"{head + 1:.0f} of 64"
        until(lambda shown=shown, number=number: shown.text_content() == number)
        box = canvas.bounding_box()
        u, v = 63 - right, 47 - front
        place = {"x": (u + 0.5) / 64 * box["width"], "y": (v + 0.5) / 48 * box["height"]}
        opened.after(lambda canvas=canvas, place=place: canvas.click(position=place))
        mark = opened.state["landmarks"][count]
        np.testing.assert_allclose(mark["stored_px"], pixel, atol=0.1)  # the mouse's pixels are whole
        np.testing.assert_allclose(
            mark["point_world"], point, atol=2.0
        )  # half a voxel of 3 mm, and of the mouse
    assert opened.stage().locator(".landmarks circle").count() == 4
    opened.after(lambda: page.get_by_role("button", name="Start from them").click())
    assert "root mean square" in opened.message()
    found = torch.tensor(opened.state["pose"], dtype=torch.float64)
    # Voxels of 3 mm, at points within 45 mm of each other: a start, and no more.
    assert float(se3.rotation_angle_deg(found, true_pose())) < 5
    # The crosses are where the pose projects the points.
    cross = opened.stage().locator(".landmarks path").first.bounding_box()
    seen = CAMERA.project(torch.tensor([opened.state["landmarks"][0]["point_world"]]).double(), found)[0]
    middle = cross["x"] + cross["width"] / 2, cross["y"] + cross["height"] / 2
    assert middle == pytest.approx(opened.on_screen(seen.tolist()), abs=1.5)
    opened.after(lambda: (page.get_by_label("name of landmark 1").fill("tip"), page.keyboard.press("Enter")))
    assert opened.state["landmarks"][0]["name"] == "tip"
    opened.after(lambda: page.get_by_role("button", name="remove tip").click())
    assert len(opened.state["landmarks"]) == 3


def test_landmarks_without_a_pointer(open_page, served: Served):
    """The cursor begins in the middle; arrows move it by a pixel, with Shift by ten; Enter marks."""
    opened = open_page(served)
    opened.choose("#hand", "hand", "mark")
    opened.stage().focus()
    for key in ("ArrowRight", "Shift+ArrowDown", "ArrowUp"):
        opened.page.keyboard.press(key)
    opened.after(
        lambda: (opened.page.keyboard.press("Enter"), until(lambda: opened.state["landmarks"] != []))
    )
    until(lambda: opened.state["landmarks"][0]["stored_px"] is not None)
    np.testing.assert_allclose(opened.state["landmarks"][0]["stored_px"], (33, 41), atol=1e-9)


def test_masks_are_drawn_and_removed(open_page, served: Served):
    opened = open_page(served)
    page = opened.page
    opened.open("masks")
    opened.choose("#hand", "hand", "mask")

    def around() -> None:
        page.mouse.move(*opened.on_screen((10, 10)))
        page.mouse.down()
        for corner in ((30, 10), (30, 25), (10, 25)):
            page.mouse.move(*opened.on_screen(corner), steps=3)
        page.mouse.up()

    opened.after(around)
    (shape,) = opened.state["shapes"][0]
    assert shape["kind"] == "polygon"
    assert np.ptp(shape["points"], axis=0) == pytest.approx([20, 15], abs=0.2)
    counts = np.frombuffer(served.ask("counts/0").content, np.uint8).reshape(64, 64)
    assert not counts[11:24, 11:29].any()
    opened.choose("#masks", "tool", "stroke")
    page.fill('[name="radius"]', "4")
    opened.after(lambda: opened.drag((40, 50), (55, 50)))
    assert opened.state["shapes"][0][1]["radius"] == 4
    assert opened.stage().locator(".masks .area").count() == 1
    assert opened.stage().locator(".masks .brush").count() == 1
    opened.after(lambda: page.get_by_role("button", name="Remove the last").click())
    assert len(opened.state["shapes"][0]) == 1
    opened.after(lambda: page.get_by_role("button", name="Remove all").click())
    assert opened.state["shapes"][0] == [] and opened.stage().locator(".masks path").count() == 0
    # Without a pointer: corners by Enter, the last one with Shift.
    opened.choose("#masks", "tool", "polygon")
    opened.stage().focus()
    for key in ("Enter", "Shift+ArrowRight", "Enter", "Shift+ArrowDown"):
        page.keyboard.press(key)
    opened.after(lambda: page.keyboard.press("Shift+Enter"))
    assert opened.state["shapes"][0][0]["points"] == [[32, 32], [42, 32], [42, 42]]
    image = {"name": "m.png", "mimeType": "image/png", "buffer": png(np.eye(64) > 0)}
    opened.after(lambda: page.set_input_files("#mask-file", image))
    assert [each["kind"] for each in opened.state["shapes"][0]] == ["polygon", "file"]


def png(mask: np.ndarray) -> bytes:
    from io import BytesIO

    file = BytesIO()
    Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(file, format="png")
    return file.getvalue()


def test_bones_are_chosen(open_page, serve, files):
    served = serve(files.ct, files.xray, "--init", files.init, "--labels", files.labels)
    opened = open_page(served)
    page = opened.page
    opened.open("bones")
    page.get_by_label("only the chosen bones, as one").check()
    page.get_by_label("bone", exact=True).check()
    before = opened.canvas()
    opened.after(lambda: page.get_by_role("button", name="Use this choice").click())
    assert (opened.state["bones_mode"], opened.state["bones"]) == ("as-one", ["bone"])
    until(lambda: bool(np.abs(opened.canvas() - before).mean() > 1))
    page.get_by_label("the whole CT", exact=True).check()
    opened.after(lambda: page.get_by_role("button", name="Use this choice").click())
    assert (opened.state["bones_mode"], opened.state["bones"]) == ("whole", [])


def test_two_windows_see_each_other_and_are_never_mixed(open_page, served: Served):
    one, two = open_page(served), open_page(served)
    one.stage().focus()
    one.after(lambda: one.page.keyboard.press("ArrowRight"))
    moved = one.state["pose"]
    until(lambda: int(two.page.get_attribute("body", "data-revision")) == one.state["revision"])
    two.open("history")
    assert two.page.locator("#steps button").count() == 2
    # What the second window asks for as of the older state is refused, and it shows the newer one.
    two.page.route(
        "**/change",
        lambda route: route.continue_(
            post_data=json.dumps(
                json.loads(route.request.post_data) | {"revision": one.state["revision"] - 1}
            )
        ),
    )
    two.page.locator("#steps button").first.click()
    two.page.locator("#message:visible").wait_for()
    assert "view.conflict" in two.message() and one.state["pose"] == moved
    two.expected.append("409")


def test_a_drag_ends_where_another_window_changes_the_pose(open_page, served: Served):
    opened = open_page(served)
    mouse = opened.page.mouse
    mouse.move(*opened.on_screen((20, 20)))
    mouse.down()
    mouse.move(*opened.on_screen((25, 20)), steps=2)
    other = np.array(served.state["pose"])
    other[1, 3] += 4.0
    opened.after(lambda: served.change("pose", pose=other.tolist()))
    mouse.move(*opened.on_screen((30, 20)), steps=2)
    mouse.up()
    opened.page.wait_for_timeout(500)  # more than it takes a hand that rests
    assert served.state["pose"] == other.tolist()
    assert opened.page.locator("#message").is_hidden()


def test_a_browser_that_vanishes_loses_nothing(open_page, browser, served: Served):
    opened = OpenedPage(browser, served)
    opened.stage().focus()
    opened.after(lambda: opened.page.keyboard.press("ArrowRight"))
    pose = opened.state["pose"]
    opened.context.close()
    again = open_page(served)
    again.open("move")
    shown = [float(again.page.input_value(f"#number-{index}")) for index in range(3)]
    np.testing.assert_allclose(shown, (np.array(pose) @ [*again.state["isocentre"], 1])[:3], atol=0.006)


def test_a_program_that_has_ended_is_told(open_page, served: Served):
    opened = open_page(served)
    served.end()
    opened.page.locator("#message:visible").wait_for(timeout=10_000)
    assert "Nothing is lost" in opened.message()
    opened.expected.append("net::ERR_")


NAMELESS = """() => {
  const controls = document.querySelectorAll("button, input, select, a, canvas[tabindex], .stage");
  const name = (each) => each.labels?.[0]?.textContent || each.getAttribute("aria-label") || each.textContent;
  return [...controls].filter((each) => !name(each).trim()).map((each) => each.outerHTML);
}"""


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (400, "light")])
def test_it_can_be_read_and_reached_everywhere(open_page, serve, files, width, scheme):
    served = serve(files.ct, files.xray, "--init", files.init, "--labels", files.labels)
    opened = open_page(
        served, color_scheme=scheme, viewport={"width": width, "height": 800}, has_touch=width == 400
    )
    page = opened.page
    for card in ("move", "history", "marks", "masks", "bones", "files"):
        if not page.locator(f"#{card}").evaluate("each => each.open"):
            opened.open(card)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(NAMELESS) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, dark.strip("rgb()").split(","))) < 200) == (scheme == "dark")
    # Every control that can be used is reached by Tab, and shows that it is.
    page.locator("body").click(position={"x": 2, "y": 2})
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        found = page.evaluate("""() => { const a = document.activeElement;
          return [a.id || a.className || a.name || a.tagName, a.name || ""].join("/"); }""")
        reached.add(found)
        if found.startswith("BODY"):
            break
    for name in ("stage", "start", "register", "number-5", "landmark-add", "mask-file", "file-ct", "undo"):
        disabled = page.evaluate("id => document.getElementById(id)?.disabled ?? false", name)
        assert disabled or any(each.startswith(f"{name}/") for each in reached), (name, sorted(reached))
