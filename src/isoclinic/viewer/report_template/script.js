"use strict";

// What share of each pixel (u, v) the CT has, by the way of comparing.
const SHARES = {
  blend: ({ opacity }) => () => opacity / 100,
  checkerboard: ({ tile }) => (u, v) => (Math.floor(u / tile) + Math.floor(v / tile)) % 2,
  swipe: ({ position }, width) => (u) => (u < (position / 100) * width ? 0 : 1),
  flicker: (_, __, flipped) => () => (flipped ? 1 : 0),
};

const MAX_ZOOM = 16;
// How far a key pans [share of the stage], and where to.
const PAN = 0.1;
const PANS = { arrowleft: [1, 0], arrowright: [-1, 0], arrowup: [0, 1], arrowdown: [0, -1] };

class View {
  constructor(section) {
    this.section = section;
    this.form = section.querySelector("form");
    this.stage = section.querySelector(".stage");
    this.layers = section.querySelector(".layers");
    this.marks = section.querySelector(".marks");
    this.canvas = section.querySelector("canvas");
    this.image = (name) => section.querySelector(`.sources img.${name}`);
    this.grey = Object.fromEntries(["xray", "start", "result"].map((name) => [name, greyOf(this.image(name))]));
    this.form.addEventListener("input", () => this.update());
    // The browser resets the controls only after the event.
    this.form.addEventListener("reset", () => setTimeout(() => { this.fit(); this.update(); }));
    this.form.elements["zoom-in"].addEventListener("click", () => this.zoom(1.5));
    this.form.elements["zoom-out"].addEventListener("click", () => this.zoom(1 / 1.5));
    this.addPointer();
    new ResizeObserver(() => this.place()).observe(this.stage);
    this.fit();
    this.update();
  }

  get settings() {
    const settings = {};
    for (const { name, type, value, checked } of this.form.elements) {
      if (type === "checkbox") settings[name] = checked;
      else if (type === "range") settings[name] = Number(value);
      else if (type === "radio" && checked) settings[name] = value;
    }
    return settings;
  }

  // The slider that belongs to the way of comparing.
  get slider() {
    return this.form.querySelector(`.slider[data-mode=${this.settings.mode}] input`);
  }

  update() {
    const settings = this.settings;
    for (const input of this.form.querySelectorAll("input[type=range]")) {
      input.nextElementSibling.value = input.value + input.dataset.unit;
    }
    for (const slider of this.form.querySelectorAll(".slider[data-mode]")) {
      slider.hidden = slider.dataset.mode !== settings.mode;
    }
    for (const name of ["landmarks", "names", "contours"]) {
      this.layers.classList.toggle(`show-${name}`, settings[name]);
    }
    for (const { value, checked } of this.form.querySelectorAll("[name=outline]")) {
      for (const path of this.marks.querySelectorAll(`[data-structure="${value}"]`)) {
        path.style.display = checked ? "" : "none";
      }
    }
    this.layers.dataset.pose = settings.pose;
    clearInterval(this.timer);
    this.flipped = false;
    if (settings.mode === "flicker") {
      this.timer = setInterval(() => { this.flipped = !this.flipped; this.draw(); }, 1000 / settings.rate);
    }
    this.section.querySelector(".shown").textContent = `X-ray and CT at the ${settings.pose}`;
    this.draw();
  }

  draw() {
    const settings = this.settings;
    const { width, height } = this.canvas;
    const xray = this.grey.xray, ct = this.grey[settings.pose];
    const xrayTone = tones(settings["xray-level"], settings["xray-window"]);
    const ctTone = tones(settings["ct-level"], settings["ct-window"]);
    const share = SHARES[settings.mode](settings, width, this.flipped);
    const context = this.canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    const rgba = new Uint32Array(picture.data.buffer);
    for (let v = 0, i = 0; v < height; v++) {
      for (let u = 0; u < width; u++, i++) {
        const ofCt = share(u, v);
        const grey = Math.round((1 - ofCt) * xrayTone[xray[i]] + ofCt * ctTone[ct[i]]);
        rgba[i] = 0xff000000 | (grey * 0x010101);
      }
    }
    context.putImageData(picture, 0, 0);
    for (const layer of ["mask", "edges-start", "edges-result"]) {
      if (settings[layer]) context.drawImage(this.image(layer), 0, 0);
    }
  }

  fit() {
    this.scale = 1;
    this.x = this.y = 0;
    this.place();
  }

  // Zoom about a point of the stage, its centre by default [screen pixels].
  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(MAX_ZOOM, Math.max(1, this.scale * factor));
    this.x = x - (x - this.x) * (scale / this.scale);
    this.y = y - (y - this.y) * (scale / this.scale);
    this.scale = scale;
    this.place();
  }

  pan(x, y) {
    this.x += x;
    this.y += y;
    this.place();
  }

  // Never further than the picture's border; marks keep their size on the screen.
  place() {
    const { clientWidth, clientHeight } = this.stage;
    this.x = Math.min(0, Math.max(clientWidth * (1 - this.scale), this.x));
    this.y = Math.min(0, Math.max(clientHeight * (1 - this.scale), this.y));
    this.layers.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    if (clientWidth > 0) {
      this.marks.style.setProperty("--mark-scale", this.canvas.width / (clientWidth * this.scale));
    }
    this.stage.classList.toggle("zoomed", this.scale > 1);
  }

  addPointer() {
    const stage = this.stage;
    let last = null;
    stage.addEventListener("pointerdown", (event) => {
      last = event;
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (last === null) return;
      this.pan(event.clientX - last.clientX, event.clientY - last.clientY);
      last = event;
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { last = null; });
    stage.addEventListener("dblclick", () => this.fit());
    // Elsewhere, and before it is clicked, the wheel scrolls the page.
    stage.addEventListener("wheel", (event) => {
      if (document.activeElement !== stage) return;
      event.preventDefault();
      const { left, top } = stage.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 400), event.clientX - left, event.clientY - top);
    }, { passive: false });
  }
}

function greyOf(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((_, index) => index % 4 === 0);
}

// Displayed tone of each of the 256 stored ones; level and window in percent of their range.
function tones(level, window) {
  return Float64Array.from({ length: 256 }, (_, stored) => {
    const tone = ((stored / 255) * 100 - (level - window / 2)) / window;
    return 255 * Math.min(1, Math.max(0, tone));
  });
}

function show(views, chosen) {
  views.forEach((view, index) => { view.section.hidden = index !== chosen; });
}

function onKey(event, view, tabs) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key === "=" ? "+" : event.key.toLowerCase();
  if (event.target === view.stage && PANS[key] && view.scale > 1) {
    const [x, y] = PANS[key];
    view.pan(x * PAN * view.stage.clientWidth, y * PAN * view.stage.clientHeight);
    event.preventDefault();
    return;
  }
  const step = { arrowleft: "stepDown", arrowright: "stepUp" }[key];
  if (step && event.target.tagName !== "INPUT") {
    const slider = view.slider;
    const steps = (slider.max - slider.min) / (slider.step || 1);
    slider[step](Math.max(1, Math.round(steps / 20)));
    view.update();
  } else if (key === "v" && tabs) {
    const radios = [...tabs.elements.view];
    radios[(radios.findIndex((radio) => radio.checked) + 1) % radios.length].click();
  } else {
    const control = view.form.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!control || control.closest("[hidden]")) return;
    control.click();
  }
  event.preventDefault();
}

async function start() {
  await Promise.all([...document.querySelectorAll(".sources img")].map((image) => image.decode()));
  document.documentElement.classList.add("js");
  const status = document.querySelector(".status");
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--status-height", `${status.offsetHeight}px`);
  }).observe(status);
  const views = [...document.querySelectorAll(".view")].map((section) => new View(section));
  const tabs = document.querySelector("form.tabs");
  const chosen = () => (tabs ? Number(tabs.elements.view.value) : 0);
  tabs?.addEventListener("input", () => show(views, chosen()));
  show(views, chosen());
  document.addEventListener("keydown", (event) => onKey(event, views[chosen()], tabs));
  // On paper nothing can be opened.
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
  document.documentElement.classList.add("ready");
}

start();
