// What was given, what was read from it, and everything odd; bones; and how X-rays are read.
import { element, table } from "./panel.js";
import { upload } from "./server.js";

const find = (id) => document.getElementById(id);
const KINDS = [
  ["ct", "CT", "a file, or all slices of a DICOM series", true],
  ["xray", "X-rays", "DICOM, or a picture with its JSON file", true],
  ["labels", "Bones: a label map of the CT", "a file, or a mask for each bone", true],
  ["views", "How several X-rays lie", "a view file; else by the C-arm angles", false],
];
const FIELDS = [
  ["sdd_mm", "source to detector [mm]", 1], ["pixel_spacing_mm", "pixel spacing, row and column [mm]", 2],
  ["principal_point_px", "principal point, column and row [px]", 2],
  ["source_isocentre_mm", "source to isocentre [mm]", 1], ["primary_angle_deg", "primary angle [deg]", 1],
  ["secondary_angle_deg", "secondary angle [deg]", 1], ["frame", "frame of a run, from 0", 1],
];
const CHOICES = [
  ["polarity", "air is", { "": "as the file says", bright_air: "bright", dark_air: "dark" }],
  ["pixel_scale", "pixels are", { "": "as the file says", linear: "linear", log: "logarithmic" }],
  ["turn", "turn clockwise by", { "": "as the file says", 0: "0°", 90: "90°", 180: "180°", 270: "270°" }],
  ["flip_left_right", "mirror left to right", { "": "no", true: "yes" }],
  ["flip_top_bottom", "mirror top to bottom", { "": "no", true: "yes" }],
];

export class Files {
  constructor(page) {
    this.page = page;
    this.lists = {};
    for (const kind of KINDS) this.zone(...kind);
    for (const [name, label, count] of FIELDS) this.field(name, label, count);
    for (const [name, label, values] of CHOICES) this.choice(name, label, values);
    find("reading-form").addEventListener("submit", (event) => { event.preventDefault(); this.read(); });
    find("bones").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); this.choose(); });
    // What misses its place must not make the browser leave the page.
    for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  }

  zone(kind, title, hint, several) {
    const input = element("input", { type: "file", multiple: several, id: `file-${kind}` });
    const folder = element("input", { type: "file", multiple: true, webkitdirectory: true, id: `folder-${kind}` });
    const list = element("div", { className: "given" });
    const choose = element("label", { className: "button", textContent: "Choose" }, input);
    const whole = element("label", { className: "button", textContent: "Folder" }, folder);
    const zone = element("fieldset", { className: "zone" },
      element("legend", { textContent: title }),
      element("div", { className: "row" }, element("span", { className: "hint", textContent: `Drop ${hint}, or` }), choose,
        several && kind !== "xray" ? whole : null),
      list);
    zone.dataset.kind = kind;
    this.lists[kind] = list;
    for (const each of [input, folder]) {
      each.setAttribute("aria-label", `${title}: choose ${each === folder ? "a folder" : "files"}`);
      each.addEventListener("change", () => {
        const files = [...each.files];
        each.value = "";
        this.open(kind, files);
      });
    }
    zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", async (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      this.open(kind, await dropped(event.dataTransfer));
    });
    find("kinds").append(zone);
  }

  async open(kind, files, more = {}) {
    if (!files.length) return;
    await this.page.attempt(async () => {
      const batch = await upload(files, (text) => this.page.say(text));
      this.page.say("reading");
      await this.page.change("open", { kind, batch, ...more });
    });
  }

  show(state) {
    for (const list of Object.values(this.lists)) list.replaceChildren();
    for (const input of state.inputs) this.lists[input.kind].append(this.given(input));
    const count = state.inputs.filter((each) => each.kind === "xray").length;
    const odd = state.inputs.reduce((sum, each) => sum + each.warnings.length + (each.problem ? 1 : 0), 0);
    const said = [state.ct ? "CT" : "", count ? `${count} X-ray${count > 1 ? "s" : ""}` : "", odd ? `${odd} to look at` : ""];
    find("files").querySelector(".gist").textContent = said.filter(Boolean).join(", ");
    if (this.ready === undefined && state.ready) find("files").open = odd > 0;
    this.ready = state.ready;
    find("output").textContent = `Everything is kept in ${state.output}.`;
    this.reading(state.reading);
    this.bones(state);
  }

  given({ kind, key, name, given, rows, warnings, problem }) {
    const box = element("div", { className: "file" });
    box.dataset.key = key;
    const remove = element("button", { type: "button", textContent: "Remove", ariaLabel: `Remove ${name}` });
    remove.addEventListener("click", () => this.page.change("close", { kind, xray: Number(key.split("-")[1] || 0) }));
    box.append(element("div", { className: "row" }, element("b", { textContent: name }), given ? remove : null));
    if (problem) box.append(element("p", { className: "problem", textContent: `${problem.message} [${problem.code}]` }));
    if (warnings.length) box.append(element("ul", { className: "odd" }, ...warnings.map((each) => element("li", { textContent: each }))));
    if (rows.length) box.append(element("details", {}, element("summary", { textContent: "What was read" }), table(rows)));
    return box;
  }

  field(name, label, count) {
    const inputs = Array.from({ length: count }, (_, index) => element("input", {
      type: "number", step: "any", name, ariaLabel: count > 1 ? `${label}, ${index + 1} of ${count}` : label,
    }));
    find("reading-fields").append(element("div", { className: "number-row" }, element("span", { textContent: label }), ...inputs));
  }

  choice(name, label, values) {
    const options = Object.entries(values).sort(([a], [b]) => (a === "" ? -1 : b === "" ? 1 : 0))
      .map(([value, text]) => element("option", { value, textContent: text }));
    const select = element("select", { name, ariaLabel: label }, ...options);
    find("reading-fields").append(element("div", { className: "number-row" }, element("span", { textContent: label }), select));
  }

  reading(values) {
    for (const [name] of FIELDS) {
      const known = values[name] === undefined ? [] : [values[name]].flat();
      find("reading-form").querySelectorAll(`[name="${name}"]`).forEach((input, index) => { input.value = known[index] ?? ""; });
    }
    for (const [name] of CHOICES) find("reading-form").elements[name].value = String(values[name] ?? "");
  }

  read() {
    const reading = {}, form = find("reading-form");
    for (const [name, , count] of FIELDS) {
      const values = [...form.querySelectorAll(`[name="${name}"]`)].map((each) => each.valueAsNumber).filter(Number.isFinite);
      if (values.length) reading[name] = count > 1 ? values : values[0];
    }
    for (const [name] of CHOICES) {
      const { value } = form.elements[name];
      if (value !== "") reading[name] = value === "true" ? true : name === "turn" ? Number(value) : value;
    }
    return this.page.change("reading", { reading });
  }

  bones(state) {
    find("bones").hidden = !state.structures.length;
    find("bones").querySelector(`[value="${state.bones_mode}"]`).checked = true;
    find("bones").querySelector(".gist").textContent = state.bones_mode === "whole" ? "the whole CT" : `${state.bones.length} chosen`;
    find("structures").replaceChildren(...state.structures.map((name) => {
      const box = element("input", { type: "checkbox", value: name, checked: state.bones.includes(name) });
      return element("label", {}, box, name);
    }));
  }

  choose() {
    const mode = find("bones").querySelector('[name="bones"]:checked').value;
    const chosen = [...find("structures").querySelectorAll(":checked")].map((each) => each.value);
    return this.page.change("bones", { mode, bones: mode === "whole" ? [] : chosen });
  }
}

// All files that were dropped, those in folders too.
async function dropped(transfer) {
  const entries = [...transfer.items].map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) files.push(await new Promise((done, failed) => entry.file(done, failed)));
    else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((done, failed) => reader.readEntries(done, failed));
        if (!some.length) break;
        for (const each of some) await walk(each);
      }
    }
  };
  if (!entries.length) return [...transfer.files];
  for (const entry of entries) await walk(entry);
  return files;
}
