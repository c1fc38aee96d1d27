// One X-ray on the page with the CT rendered over it, and what is marked in both.
import * as compare from "./compare.js";
import * as poses from "./pose.js";
import { pictures } from "./server.js";

const SVG = "http://www.w3.org/2000/svg";
const browser = crypto.randomUUID();
let number = 0;

export class Stage {
  constructor(template, index, view, moving, resting) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.index = index;
    this.view = view;
    this.sizes = { moving, resting };
    this.layers = {};
    this.stage = this.element.querySelector(".stage");
    this.canvas = this.element.querySelector("canvas");
    this.marks = this.element.querySelector("svg");
    Object.assign(this.canvas, { width: view.width, height: view.height });
    this.marks.setAttribute("viewBox", `-0.5 -0.5 ${view.width} ${view.height}`);
    this.marks.setAttribute("preserveAspectRatio", "none");
    this.stage.style.setProperty("--width", view.width);
    this.stage.style.setProperty("--height", view.height);
    this.stage.setAttribute("aria-label",
      `X-ray ${index + 1}, ${view.name}, with the CT over it. Arrow keys move the CT, Page Up and Page Down in depth, `
      + "with Shift they turn it.");
    this.element.setAttribute("aria-label", `X-ray ${index + 1}`);
    this.element.querySelector(".caption").textContent = view.name;
    this.wanted = null;
    this.flying = false;
  }

  // The picture of the X-ray itself, and where it counts.
  async load() {
    const [xray, counts] = await Promise.all([pictures(`xray/${this.index}`), pictures(`counts/${this.index}`)]);
    this.layers.xray = compare.greys(xray);
    this.layers.counts = compare.shade(counts);
    this.draw();
  }

  draw() { compare.draw(this.canvas, this.layers); }

  // Ask for the CT at a pose; of several that are asked for while one is on its way, only the last is rendered.
  want(pose, sharp, at = performance.now()) {
    const since = this.wanted ? Math.min(this.wanted.at, at) : at;
    this.wanted = { pose, pixels: sharp ? this.sizes.resting : this.sizes.moving, at: since };
    if (!this.flying) this.fly();
  }

  async fly() {
    this.flying = true;
    try {
      // The next one is rendered while the last one is drawn.
      for (let ready = null; ready || this.wanted;) {
        const { wanted } = this;
        this.wanted = null;
        const coming = wanted && pictures("frame", {
          view: this.index, pose: wanted.pose, pixels: wanted.pixels, browser, number: ++number,
          bone: compare.settings.bone,
        });
        if (ready) this.arrived(ready);
        const frame = coming && await coming;
        ready = frame && { frame, pixels: wanted.pixels, at: wanted.at };
      }
    } catch (error) {
      this.wanted = null;
      document.dispatchEvent(new CustomEvent("refused", { detail: error }));
    } finally {
      this.flying = false;
    }
  }

  arrived({ frame, pixels, at }) {
    this.show(frame);
    const now = performance.now();
    document.dispatchEvent(new CustomEvent("drawn", { detail: { view: this.index, pixels, latency: now - at } }));
  }

  show(frame) {
    this.layers.ct = compare.greys(frame);
    this.layers.edges = compare.lines(frame);
    ["left", "right", "top", "bottom"].forEach((side, index) => {
      if (frame.sides.length === 4) this.element.querySelector(`.sides .${side}`).textContent = frame.sides[index];
    });
    this.stage.dataset.pixels = Math.max(frame.width, frame.height);
    this.draw();
  }

  // The pixel of the picture under a point of the screen.
  pixel(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      (event.clientX - box.left) / box.width * this.view.width - 0.5,
      (event.clientY - box.top) / box.height * this.view.height - 0.5,
    ];
  }

  inside([u, v]) { return u >= -0.5 && v >= -0.5 && u <= this.view.width - 0.5 && v <= this.view.height - 0.5; }

  stored(pixel) { return poses.affine(this.view.stored_from_picture, pixel); }
  unstored(pixel) { return poses.affine(poses.inverseAffine(this.view.stored_from_picture), pixel); }

  // A group of marks by its name, empty.
  group(name) {
    let group = this.marks.querySelector(`g.${name}`);
    if (!group) {
      group = document.createElementNS(SVG, "g");
      group.setAttribute("class", name);
      this.marks.append(group);
    }
    group.replaceChildren();
    return group;
  }

  // Picture pixels for each pixel of the screen, so that marks keep their size.
  get unit() { return this.view.width / (this.canvas.getBoundingClientRect().width || this.view.width); }

  add(group, tag, attributes, text = "") {
    const mark = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) mark.setAttribute(name, value);
    mark.textContent = text;
    group.append(mark);
    return mark;
  }

  cross(group, [u, v], kind) {
    const r = 7 * this.unit;
    this.add(group, "path", { class: `glyph ${kind}`, d: `M${u - r} ${v}h${2 * r}M${u} ${v - r}v${2 * r}` });
  }

  ring(group, [u, v], name) {
    this.add(group, "circle", { class: "glyph given", cx: u, cy: v, r: 6 * this.unit });
    this.add(group, "text", { x: u + 8 * this.unit, y: v - 6 * this.unit, "font-size": 12 * this.unit }, name);
  }

  // The line on which a point of another picture lies here.
  epipolar(from, pixel) {
    const group = this.group("epipolar"), { view } = from;
    if (!pixel) return;
    const here = poses.times(this.view.view_from_first, poses.inverse(view.view_from_first));
    const ends = [0.15, 1].map((share) => {
      const z = share * view.sdd_mm;
      const point = [(pixel[0] - view.cx) / view.fx * z, (pixel[1] - view.cy) / view.fy * z, z];
      return poses.projected(this.view, poses.moved(here, point));
    });
    if (ends.every(Boolean)) {
      const [[x1, y1], [x2, y2]] = ends;
      this.add(group, "line", { x1, y1, x2, y2 });
    }
  }
}
