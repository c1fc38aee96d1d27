// Landmarks: marked in the first X-ray and in the CT, and drawn in every picture.
import { element } from "./panel.js";
import * as poses from "./pose.js";
import { Slices } from "./slices.js";

const find = (id) => document.getElementById(id);

export class Landmarks {
  constructor(page) {
    this.page = page;
    this.chosen = 0;
    this.slices = new Slices(find("planes"), find("projection"), (point) => this.put({ point_world: point }),
      (work) => page.attempt(work));
    find("landmark-add").addEventListener("click", () => this.add());
    find("landmark-start").addEventListener("click", () => this.start());
    find("landmark-file").addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = "";
      page.files.open("landmarks", files);
    });
    find("marks").addEventListener("toggle", () => this.opened());
  }

  get list() { return this.page.state.landmarks; }

  opened() {
    const grid = find("marks").open && this.page.state?.ct_grid;
    find("ct-planes").hidden = !grid;
    if (grid) this.slices.show(grid);
  }

  show({ landmarks }) {
    const both = landmarks.filter((each) => each.point_world && each.stored_px).length;
    find("marks").querySelector(".gist").textContent = landmarks.length ? `${both} in both` : "";
    find("landmark-start").disabled = both < 4;
    this.chosen = Math.min(this.chosen, Math.max(landmarks.length - 1, 0));
    find("landmarks").replaceChildren(...landmarks.map((each, index) => this.row(each, index)));
    this.opened();
  }

  row({ name, point_world, stored_px }, index) {
    const radio = element("input", { type: "radio", name: "landmark", checked: index === this.chosen, ariaLabel: `mark ${name}` });
    radio.addEventListener("change", () => {
      this.chosen = index;
      if (point_world) this.slices.goto(point_world);
    });
    const text = element("input", { type: "text", value: name, maxLength: 80, ariaLabel: `name of landmark ${index + 1}` });
    text.addEventListener("change", () => this.replace(index, { name: text.value }));
    const remove = element("button", { type: "button", textContent: "×", ariaLabel: `remove ${name}` });
    remove.addEventListener("click", () => this.page.change("landmarks",
      (state) => ({ landmarks: state.landmarks.filter((_, at) => at !== index) })));
    const ct = element("span", { className: point_world ? "marked" : "open", textContent: point_world ? "CT ✓" : "CT –" });
    const xray = element("span", { className: stored_px ? "marked" : "open", textContent: stored_px ? "X-ray ✓" : "X-ray –" });
    return element("div", { className: "landmark" }, radio, text, ct, xray, remove);
  }

  async add() {
    find("hand").querySelector('[value="mark"]').checked = true;
    await this.page.change("landmarks", ({ landmarks }) => {
      const names = new Set(landmarks.map((each) => each.name));
      let count = landmarks.length + 1;
      while (names.has(`L${count}`)) count += 1;
      this.chosen = landmarks.length;
      return { landmarks: [...landmarks, { name: `L${count}` }] };
    });
  }

  async start() {
    const said = await this.page.change("landmark-start");
    if (said?.length) this.page.say(`Start from landmarks: ${said.join("; ")}`);
  }

  replace(index, change) {
    return this.page.change("landmarks", ({ landmarks }) => ({
      landmarks: landmarks.map((each, at) => (at === index ? { ...each, ...change } : each)),
    }));
  }

  // A place for the landmark that is chosen; the first one makes itself.
  async put(change) {
    if (!this.list.length) await this.add();
    if (this.list.length) await this.replace(this.chosen, change);
  }

  marked(stage, pixel) {
    if (stage.index === 0) return this.put({ stored_px: stage.stored(pixel) });
    return this.page.say("Landmarks are marked in the first X-ray.");
  }

  draw(pose = this.page.pose) {
    const { state, stages } = this.page;
    for (const stage of stages) {
      const group = stage.group("landmarks");
      for (const { name, point_world, stored_px } of state.landmarks) {
        if (stored_px && stage.index === 0) stage.ring(group, stage.unstored(stored_px), name);
        if (!point_world || !pose) continue;
        const pixel = poses.projected(stage.view, poses.moved(poses.poseIn(stage.view, pose), point_world));
        if (pixel) stage.cross(group, pixel, "result");
      }
    }
  }
}
