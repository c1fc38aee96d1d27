// Parts of X-rays that are left out: drawn by hand or loaded.
const find = (id) => document.getElementById(id);

export class Masks {
  constructor(page) {
    this.page = page;
    this.line = null;
    this.last = 0;
    find("mask-back").addEventListener("click", () => this.keep((shapes) => shapes.slice(0, -1)));
    find("mask-clear").addEventListener("click", () => this.keep(() => []));
    find("mask-file").addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = "";
      page.files.open("mask", files, { xray: this.last });
    });
    const slider = find("masks").querySelector(".slider"), input = slider.querySelector("input");
    const told = () => { slider.querySelector("output").textContent = input.value + input.dataset.unit; };
    input.addEventListener("input", told);
    told();
    find("masks").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  }

  get tool() { return find("masks").querySelector('[name="tool"]:checked').value; }
  get radius() { return find("masks").querySelector('[name="radius"]').valueAsNumber; }
  shapes(index) { return this.page.state.shapes[index] || []; }

  show({ shapes, views }) {
    const count = shapes.reduce((sum, each) => sum + each.length, 0);
    find("masks").querySelector(".gist").textContent = count ? `${count} drawn or loaded` : "";
    this.last = Math.min(this.last, Math.max(views.length - 1, 0));
    find("mask-back").disabled = find("mask-clear").disabled = !count;
  }

  // A line that the pointer draws; what it ends in is sent in pixels of the X-ray as stored.
  drawn(stage, pixel, phase) {
    if (this.page.locked) return;
    if (phase === "down") this.line = { stage, points: [pixel] };
    else if (this.line?.stage === stage) {
      const [u, v] = this.line.points.at(-1);
      if (phase === "move" && Math.hypot(pixel[0] - u, pixel[1] - v) < stage.unit) return;
      this.line.points.push(pixel);
    } else return;
    if (phase === "up") this.finish();
    else this.preview();
  }

  // A corner that was set by keys; Shift closes the line.
  corner(stage, pixel, close) {
    if (this.line?.stage !== stage) this.line = { stage, points: [] };
    this.line.points.push([...pixel]);
    if (close || this.tool === "stroke") this.finish();
    else this.preview();
  }

  drop() {
    if (this.line) this.line.stage.group("drawing");
    this.line = null;
  }

  preview() {
    const { stage, points } = this.line, group = stage.group("drawing");
    this.add(stage, group, { kind: this.tool, points, radius: this.radius });
  }

  finish() {
    const { stage, points } = this.line;
    this.drop();
    if (this.tool === "polygon" && points.length < 3) return;
    const scale = Math.hypot(stage.view.stored_from_picture[0][0], stage.view.stored_from_picture[1][0]);
    const shape = { kind: this.tool, points: points.map((each) => stage.stored(each)), radius: this.radius * scale };
    this.last = stage.index;
    this.keep((shapes) => [...shapes, shape]);
  }

  keep(changed) {
    const xray = this.last;
    return this.page.change("shapes", () => ({ xray, shapes: changed(this.shapes(xray)) }));
  }

  add(stage, group, { kind, points, radius }) {
    const path = points.map(([u, v], index) => `${index ? "L" : "M"}${u} ${v}`).join("");
    if (kind === "polygon") stage.add(group, "path", { class: "area", d: `${path}Z` });
    if (kind === "stroke") stage.add(group, "path", { class: "brush", d: `${path}h0.01`, "stroke-width": 2 * radius });
  }

  draw() {
    for (const stage of this.page.stages) {
      const group = stage.group("masks");
      const scale = Math.hypot(stage.view.stored_from_picture[0][0], stage.view.stored_from_picture[1][0]);
      for (const { kind, points, radius } of this.shapes(stage.index)) {
        this.add(stage, group, { kind, points: points.map((each) => stage.unstored(each)), radius: radius / scale });
      }
    }
  }
}
