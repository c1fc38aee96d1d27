// Moving the CT by pointer, wheel and keys.
import * as poses from "./pose.js";

// What a turn by one radian moves by at most, near the surface of a body: the hand turns what it seems to touch [mm].
const ARM_MM = 90, WHEEL_MM = 10, REST_MS = 200;
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

export class Hand {
  // `app` has: pose, isocentre, mode, step, locked, moved(pose, at), rested(), clicked(stage, pixel, kind, event).
  constructor(app) {
    this.app = app;
    this.timer = 0;
  }

  connect(stage) {
    const element = stage.stage;
    element.addEventListener("pointerdown", (event) => this.down(stage, event));
    element.addEventListener("pointermove", (event) => this.hover(stage, event));
    element.addEventListener("pointerup", (event) => this.up(stage, event));
    element.addEventListener("pointercancel", () => { this.dragging = null; });
    element.addEventListener("pointerleave", () => this.app.hovered(stage, null));
    element.addEventListener("wheel", (event) => this.wheel(stage, event), { passive: false });
    element.addEventListener("keydown", (event) => this.key(stage, event));
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  kind(event) {
    const { mode } = this.app;
    if (mode === "mark" || mode === "mask") return mode;
    if (event.ctrlKey || event.metaKey) return "roll";
    return event.shiftKey || event.button === 2 ? "turn" : mode;
  }

  down(stage, event) {
    stage.stage.focus({ preventScroll: true });
    const kind = this.kind(event), pixel = stage.pixel(event);
    if (kind === "mark" || kind === "mask") {
      stage.stage.setPointerCapture(event.pointerId);
      this.dragging = { kind, stage };
      this.app.clicked(stage, pixel, kind, "down", event);
      return;
    }
    if (this.app.locked || !this.app.pose) return;
    stage.stage.setPointerCapture(event.pointerId);
    this.dragging = { kind, stage, from: pixel, pose: this.app.pose };
  }

  hover(stage, event) {
    const pixel = stage.pixel(event), drag = this.dragging;
    this.app.hovered(stage, stage.inside(pixel) ? pixel : null);
    if (!drag || drag.stage !== stage) return;
    if (drag.kind === "mark" || drag.kind === "mask") this.app.clicked(stage, pixel, drag.kind, "move", event);
    else this.to(this.dragged(drag, pixel), event.timeStamp);
  }

  up(stage, event) {
    const drag = this.dragging;
    this.dragging = null;
    if (!drag) return;
    if (drag.kind === "mark" || drag.kind === "mask") this.app.clicked(stage, stage.pixel(event), drag.kind, "up", event);
    else this.rest(0);
  }

  // The pose that a drag from one pixel to another leads to: what lies at the centre's depth follows the pointer.
  dragged({ kind, stage, from, pose }, to) {
    const { view } = stage, centre = poses.moved(poses.poseIn(view, pose), this.app.isocentre);
    const right = (to[0] - from[0]) * centre[2] / view.fx, down = (to[1] - from[1]) * centre[2] / view.fy;
    if (kind === "shift") return this.perturbed(stage, pose, [0, 0, 0], [right, down, 0]);
    if (kind === "turn") return this.perturbed(stage, pose, [down / ARM_MM, -right / ARM_MM, 0], [0, 0, 0]);
    const middle = poses.projected(view, centre) || [view.cx, view.cy];
    const angle = ([u, v]) => Math.atan2((v - middle[1]) * Math.sign(view.fy), (u - middle[0]) * Math.sign(view.fx));
    return this.perturbed(stage, pose, [0, 0, angle(to) - angle(from)], [0, 0, 0]);
  }

  perturbed(stage, pose, turn, shift) { return poses.perturbedIn(stage.view, pose, turn, shift, this.app.isocentre); }

  wheel(stage, event) {
    if (this.app.locked || !this.app.pose || event.ctrlKey) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
    const depth = lines / 100 * WHEEL_MM * Math.min(this.app.step, 1);
    this.to(this.perturbed(stage, this.app.pose, [0, 0, 0], [0, 0, depth]), event.timeStamp);
    this.rest(REST_MS);
  }

  key(stage, event) {
    const kind = this.app.mode;
    if (kind === "mark" || kind === "mask") {
      this.app.cursor(stage, event, ARROWS[event.key]);
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || this.app.locked || !this.app.pose) return;
    const pose = this.stepped(stage, event.key, event.shiftKey || kind !== "shift", kind);
    if (!pose) return;
    event.preventDefault();
    this.to(pose, event.timeStamp);
    this.rest(REST_MS);
  }

  stepped(stage, key, turns, kind) {
    const { pose, step } = this.app, view = stage.view, angle = step * Math.PI / 180;
    const [u, v] = ARROWS[key] || [0, 0], [fx, fy] = [Math.sign(view.fx), Math.sign(view.fy)];
    const depth = key === "PageUp" ? 1 : key === "PageDown" ? -1 : 0;
    if (!u && !v && !depth) return null;
    if (turns && kind === "roll") return this.perturbed(stage, pose, [0, 0, (u + v + depth) * angle], [0, 0, 0]);
    if (turns) return this.perturbed(stage, pose, [v * fy * angle, -u * fx * angle, depth * angle], [0, 0, 0]);
    return this.perturbed(stage, pose, [0, 0, 0], [u * fx * step, v * fy * step, depth * step]);
  }

  to(pose, at) { this.app.moved(pose, at); this.rest(REST_MS); }

  drop() {
    this.dragging = null;
    clearTimeout(this.timer);
  }

  // After a while without a motion, the picture is sharpened and the pose kept.
  rest(after) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { if (!this.dragging) this.app.rested(); else this.app.sharpened(); }, after);
  }
}
