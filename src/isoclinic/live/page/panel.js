// Start, registration, result, pose in numbers, and history.
import * as poses from "./pose.js";
import { address, ask, upload } from "./server.js";

const find = (id) => document.getElementById(id);
const DEGREES = 180 / Math.PI;
const NUMBERS = [
  ["right", "mm"], ["down", "mm"], ["depth", "mm"],
  ["about the horizontal axis", "°"], ["about the vertical axis", "°"], ["about the beam", "°"],
];
const STARTS = {
  ap: "AP", pa: "PA", left: "lateral, detector left", right: "lateral, detector right",
  dicom: "C-arm angles of the file", any: "nothing is known: search all views",
};

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((each) => each !== null));
  return made;
}

// What is said already is not said again, also by screen readers.
function say(id, text) {
  if (find(id).textContent !== text) find(id).textContent = text;
}

export class Panel {
  constructor(page) {
    this.page = page;
    find("start-use").addEventListener("click", () => page.change("start", { init: find("start").value }));
    find("register").addEventListener("click", () => this.register());
    find("cancel").addEventListener("click", () => this.cancel());
    find("undo").addEventListener("click", () => this.undo());
    find("redo").addEventListener("click", () => this.redo());
    find("save-pose").addEventListener("click", () => this.savePose());
    find("pose-file").addEventListener("change", ({ target }) => this.posed(target));
    find("move").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    this.inputs = NUMBERS.map(([name, unit], index) => this.number(name, unit, index));
  }

  number(name, unit, index) {
    const input = element("input", { type: "number", step: "any", id: `number-${index}` });
    const less = element("button", { type: "button", textContent: "−", ariaLabel: `less ${name}` });
    const more = element("button", { type: "button", textContent: "+", ariaLabel: `more ${name}` });
    less.addEventListener("click", () => this.by(index, -this.page.step));
    more.addEventListener("click", () => this.by(index, this.page.step));
    input.addEventListener("change", () => {
      const value = input.valueAsNumber;
      input.blur();
      if (Number.isFinite(value)) this.typed(index, value);
      else this.numbers(this.page.pose);
    });
    const label = element("label", { htmlFor: input.id, textContent: `${name} [${unit}]` });
    find("numbers").append(element("div", { className: "number-row" }, label, less, input, more));
    return input;
  }

  // Six numbers of a pose: where the CT's centre is, and how it is turned since the last start.
  values(pose) {
    const { isocentre, reference } = this.page.state;
    const turned = poses.rotationVector(poses.times(pose, poses.inverse(reference)));
    return [...poses.moved(pose, isocentre), ...turned.map((each) => each * DEGREES)];
  }

  numbers(pose) {
    const known = pose && this.page.isocentre && this.page.state.reference;
    const values = known ? this.values(pose) : [];
    this.inputs.forEach((input, index) => {
      if (document.activeElement !== input || !known) input.value = known ? values[index].toFixed(2) : "";
      input.disabled = !known || this.page.locked;
    });
  }

  typed(index, value) {
    const { page } = this, { reference, isocentre } = page.state;
    const values = this.values(page.pose);
    if (index < 3) {
      const shift = [0, 0, 0];
      shift[index] = value - values[index];
      page.pose = poses.perturbed(page.pose, [0, 0, 0], shift, isocentre);
    } else {
      values[index] = value;
      const rotation = poses.times(poses.rotation(values.slice(3).map((each) => each / DEGREES)), reference);
      const centre = poses.moved(page.pose, isocentre), now = poses.moved(rotation, isocentre);
      for (let i = 0; i < 3; i++) rotation[i][3] += centre[i] - now[i];
      page.pose = rotation;
    }
    page.moved(page.pose);
    page.rested();
  }

  by(index, step) {
    const { page } = this, turn = [0, 0, 0], shift = [0, 0, 0];
    if (!page.pose || page.locked) return;
    if (index < 3) shift[index] = step;
    else turn[index - 3] = step / DEGREES;
    page.moved(poses.perturbed(page.pose, turn, shift, page.isocentre));
    page.hand.rest(200);
  }

  stepBy(direction) {
    const steps = [...find("move").querySelectorAll('[name="step"]')];
    const at = steps.findIndex((each) => each.checked) + direction;
    steps[Math.min(Math.max(at, 0), steps.length - 1)].checked = true;
  }

  undo() { this.goto((state) => state.current - 1); }
  redo() { this.goto((state) => state.current + 1); }
  goto(chosen) {
    if (this.page.locked) return;
    this.page.change("goto", (state) => {
      const step = chosen(state);
      return step >= 0 && step < state.steps.length ? { step } : null;
    });
  }

  async register() {
    const { page } = this;
    if (!page.state.ready || page.locked) return;
    await page.attempt(async () => {
      if (JSON.stringify(page.pose) !== JSON.stringify(page.state.pose)) await page.rested();
      await page.queue;
      page.say("");
      await ask("register", { revision: page.state.revision });
    });
  }

  cancel() { return this.page.attempt(() => ask("cancel", {})); }

  async savePose() {
    await this.page.attempt(async () => {
      const { path } = await ask("save-pose", {});
      find("saved-pose").textContent = `saved as ${path}`;
    });
  }

  async posed(input) {
    const files = [...input.files];
    input.value = "";
    await this.page.attempt(async () => {
      const batch = await upload(files, () => {});
      await this.page.change("open", { kind: "pose", batch });
    });
  }

  show(state) {
    const starts = state.starts.map((name) => element("option", { value: name, textContent: STARTS[name] || name }));
    if (find("start").length !== starts.length) find("start").replaceChildren(...starts);
    for (const id of ["start", "start-use", "pose-file"]) find(id).disabled = !state.starts.length;
    find("undo").disabled = state.current <= 0;
    find("redo").disabled = state.current >= state.steps.length - 1;
    find("save-pose").disabled = !state.pose;
    this.numbers(state.pose);
    this.history(state);
    this.result(state);
    this.progress(state);
  }

  history({ steps, current }) {
    find("history").querySelector(".gist").textContent = steps.length ? `${current + 1} of ${steps.length}` : "";
    find("steps").replaceChildren(...steps.map((label, index) => {
      const button = element("button", { type: "button", textContent: label });
      if (index === current) button.setAttribute("aria-current", "step");
      button.addEventListener("click", () => this.goto(() => index));
      return element("li", {}, button);
    }));
  }

  // The verdict belongs to a pose: it is told of that pose only.
  verdict(state) {
    const pose = JSON.stringify(state.pose);
    return [...state.results].reverse().find((each) => JSON.stringify(each.camera_from_world) === pose);
  }

  result(state) {
    const found = this.verdict(state), place = find("result");
    place.replaceChildren();
    if (!found) return;
    const folder = `results/${String(found.number).padStart(4, "0")}`;
    const link = (name, text) => element("a", { href: address(`results/${found.number}/${name}`), target: "_blank", textContent: text });
    place.append(element("p", { className: "verdict" }, element("b", { textContent: found.verdict })));
    // The verdict says the first doubt.
    const more = found.doubts.slice(1).map((each) => element("li", { textContent: each }));
    if (more.length) place.append(element("ul", {}, ...more));
    place.append(element("p", { className: "saved" }, `Saved in ${state.output}/${folder}: `,
      link("report.html", "report"), ", ", link("pose.json", "pose"), ", ", link("transform.tfm", "transform")));
    place.append(table(found.rows));
    if (found.structures.length) place.append(table(found.structures.map(([name, status, moved, doubts]) => [name, `${status}; ${moved}`, doubts])));
  }

  progress(state) {
    const { active, stage, seconds } = state.running;
    find("progress").hidden = !active;
    find("cancel").hidden = !active;
    find("register").hidden = active;
    find("register").disabled = !state.ready;
    find("stage").textContent = active ? `${stage} (${seconds.toFixed(1)} s)` : "";
    const bare = state.steps[state.current], unknown = state.unknown;
    find("register").textContent = unknown ? "Register, searching all views" : "Register from this pose";
    const found = active ? null : this.verdict(state);
    document.body.dataset.status = found ? found.status : "";
    const problem = state.inputs.some((each) => each.problem);
    say("headline", active ? "Registering"
      : found ? (found.status === "max_steps" ? "Not converged" : found.status[0].toUpperCase() + found.status.slice(1))
      : state.ready ? "Not registered" : problem ? "A file cannot be used" : "Give a CT and an X-ray");
    say("advice", active ? stage
      : found ? (found.doubts[0] || found.verdict.replace(/^\w+, /, ""))
      : state.ready ? `this pose is: ${bare}` : "");
  }
}

export function table(rows) {
  const body = element("tbody", {}, ...rows.map(([name, value, note]) => {
    const cell = element("td", { textContent: value });
    if (note) cell.append(element("small", { textContent: note }));
    return element("tr", {}, element("th", { scope: "row", textContent: name }), cell);
  }));
  return element("table", {}, body);
}
