// Three planes of the CT, in which landmarks are marked.
import { greys } from "./compare.js";
import { element } from "./panel.js";
import { ask, pictures } from "./server.js";

// The axis that each plane leaves out, and those along its columns and rows; indices grow to the right, front, head.
const PLANES = { axial: [2, 0, 1], coronal: [1, 0, 2], sagittal: [0, 1, 2] };

export class Slices {
  // `picked` is called with the place in the world that was clicked.
  constructor(place, projection, picked, attempt) {
    this.picked = picked;
    this.attempt = attempt;
    this.projection = projection;
    this.grid = null;
    this.index = [0, 0, 0];
    this.planes = Object.keys(PLANES).map((name) => this.plane(place, name));
    projection.addEventListener("change", () => this.draw());
  }

  plane(place, name) {
    const canvas = element("canvas", { tabIndex: 0 });
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `CT, ${name}: click, or arrow keys and Enter, to mark the landmark`);
    const slider = element("input", { type: "range", min: 0, ariaLabel: `${name} slice` });
    const output = element("output");
    const figure = element("figure", {}, canvas, element("figcaption", {}, `${name} `, output), slider);
    place.append(figure);
    const plane = { name, canvas, slider, output, picture: null };
    slider.addEventListener("input", () => {
      this.index[PLANES[name][0]] = Number(slider.value);
      this.projection.checked = false;
      this.draw();
    });
    canvas.addEventListener("click", (event) => this.clicked(plane, event));
    canvas.addEventListener("keydown", (event) => this.key(plane, event));
    return plane;
  }

  async show(grid) {
    if (JSON.stringify(grid) === JSON.stringify(this.grid)) return;
    this.grid = grid;
    if (!grid) return;
    this.index = grid.shape.map((count) => Math.floor(count / 2));
    for (const { name, canvas, slider } of this.planes) {
      const [across, along, up] = PLANES[name], { shape, spacing_mm } = grid;
      Object.assign(canvas, { width: shape[along], height: shape[up] });
      canvas.style.setProperty("--ratio", shape[along] * spacing_mm[along] / (shape[up] * spacing_mm[up]));
      slider.max = shape[across] - 1;
    }
    await this.draw();
  }

  async draw() {
    if (!this.grid) return;
    await this.attempt(() => Promise.all(this.planes.map(async (plane) => {
      const [across] = PLANES[plane.name], at = Math.round(this.index[across]);
      const path = this.projection.checked ? `projection/${plane.name}` : `slice/${plane.name}/${at}`;
      plane.slider.value = at;
      plane.output.textContent = this.projection.checked ? "" : `${at + 1} of ${this.grid.shape[across]}`;
      if (plane.path !== path) {
        plane.path = path;
        const frame = await pictures(path);
        if (plane.path === path) plane.picture = greys(frame);
      }
      this.paint(plane);
    })));
  }

  pixel(plane) {
    const [, along, up] = PLANES[plane.name], { shape } = this.grid;
    return [shape[along] - 1 - this.index[along], shape[up] - 1 - this.index[up]];
  }

  paint({ name, canvas, picture }) {
    if (!picture) return;
    const context = canvas.getContext("2d"), [u, v] = this.pixel({ name });
    context.drawImage(picture, 0, 0);
    context.strokeStyle = "#7ee787";
    context.lineWidth = Math.max(1, canvas.width / 200);
    context.beginPath();
    context.moveTo(u + 0.5, 0);
    context.lineTo(u + 0.5, canvas.height);
    context.moveTo(0, v + 0.5);
    context.lineTo(canvas.width, v + 0.5);
    context.stroke();
  }

  clicked(plane, event) {
    const box = plane.canvas.getBoundingClientRect();
    const u = (event.clientX - box.left) / box.width * plane.canvas.width - 0.5;
    const v = (event.clientY - box.top) / box.height * plane.canvas.height - 0.5;
    return this.pick(plane, u, v);
  }

  key(plane, event) {
    const arrow = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    const step = event.shiftKey ? 10 : 1;
    if (arrow) {
      [1, 2].forEach((axis) => {
        const along = PLANES[plane.name][axis];
        const moved = this.index[along] - step * arrow[axis - 1];
        this.index[along] = Math.min(Math.max(moved, 0), this.grid.shape[along] - 1);
      });
      this.draw();
    } else if (event.key === "Enter" || event.key === " ") this.pick(plane, ...this.pixel(plane));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async pick(plane, u, v) {
    await this.attempt(async () => {
      const at = this.projection.checked ? "" : `&index=${Math.round(this.index[PLANES[plane.name][0]])}`;
      const { index, point_world } = await ask(`point/${plane.name}?u=${u}&v=${v}${at}`);
      this.index = index;
      this.projection.checked = false;
      await this.draw();
      this.picked(point_world);
    });
  }

  // The planes through a place in the world.
  goto(point) {
    if (!this.grid) return;
    const m = this.grid.world_from_index, off = point.map((each, i) => each - m[i][3]);
    // The axes are at right angles: each is projected on by itself.
    this.index = [0, 1, 2].map((j) => {
      const axis = [m[0][j], m[1][j], m[2][j]];
      const value = axis.reduce((sum, each, i) => sum + each * off[i], 0) / axis.reduce((sum, each) => sum + each * each, 0);
      return Math.min(Math.max(value, 0), this.grid.shape[j] - 1);
    });
    this.projection.checked = false;
    this.draw();
  }
}
