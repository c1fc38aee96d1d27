// How X-ray and CT are laid over each other.
const EDGE = [255, 140, 0], MASK = [214, 70, 180, 115];

export const settings = {
  mode: "blend", opacity: 50, tiles: 8, position: 50, rate: 2, edges: true, bone: false, counts: false, flicker: false,
};

const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

function painted(width, height, paint) {
  const canvas = canvasOf(width, height), context = canvas.getContext("2d");
  const image = context.createImageData(width, height), data = new Uint32Array(image.data.buffer);
  paint(data);
  context.putImageData(image, 0, 0);
  return canvas;
}

const word = (r, g, b, a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;

export const greys = ({ width, height, planes }, plane = 0) => painted(width, height, (data) => {
  const bytes = planes[plane];
  for (let i = 0; i < data.length; i++) data[i] = 0xff000000 | (bytes[i] * 0x010101);
});

export const lines = ({ width, height, planes }) => painted(width, height, (data) => {
  const colour = word(...EDGE, 255), bytes = planes[1];
  for (let i = 0; i < data.length; i++) data[i] = bytes[i] ? colour : 0;
});

export const shade = ({ width, height, planes }) => painted(width, height, (data) => {
  const colour = word(...MASK), bytes = planes[0];
  for (let i = 0; i < data.length; i++) data[i] = bytes[i] ? 0 : colour;
});

// Draw the layers { xray, ct, edges, counts } of a view onto its canvas.
export function draw(canvas, layers) {
  const context = canvas.getContext("2d"), { width, height } = canvas, { mode } = settings;
  const whole = (layer) => layer && context.drawImage(layer, 0, 0, width, height);
  context.globalAlpha = 1;
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  whole(layers.xray);
  if (layers.ct) {
    context.save();
    if (mode === "blend") {
      context.globalAlpha = settings.opacity / 100;
      whole(layers.ct);
    } else if (mode === "flicker") {
      if (settings.flicker) whole(layers.ct);
    } else if (mode !== "edges") {
      context.beginPath();
      if (mode === "swipe") {
        const left = width * settings.position / 100;
        context.rect(left, 0, width - left, height);
      } else {
        const side = Math.max(1, Math.round(Math.min(width, height) / settings.tiles));
        for (let y = 0; y < height; y += side) {
          for (let x = (y / side) % 2 ? 0 : side; x < width; x += 2 * side) context.rect(x, y, side, side);
        }
      }
      context.clip();
      whole(layers.ct);
    }
    context.restore();
    if (settings.edges || mode === "edges") whole(layers.edges);
  }
  if (settings.counts) whole(layers.counts);
}

// Whether edges are drawn, so that they must be known.
export const drawsEdges = () => settings.edges || settings.mode === "edges";

// The form that sets all of this; `changed` is called with the name of what has changed.
export function connect(form, changed) {
  let timer = 0;
  const show = () => {
    for (const slider of form.querySelectorAll(".slider")) {
      slider.hidden = slider.dataset.mode !== settings.mode;
      const input = slider.querySelector("input");
      slider.querySelector("output").textContent = input.value + input.dataset.unit;
    }
    clearInterval(timer);
    settings.flicker = false;
    if (settings.mode === "flicker") {
      timer = setInterval(() => { settings.flicker = !settings.flicker; changed("flicker"); }, 1000 / settings.rate);
    }
  };
  form.addEventListener("input", ({ target }) => {
    const { name } = target;
    settings[name] = target.type === "checkbox" ? target.checked : target.type === "range" ? Number(target.value) : target.value;
    show();
    changed(name);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
  return {
    choose(mode) {
      const input = form.querySelector(`[name="mode"][value="${mode}"]`);
      input.checked = true;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    },
    toggle(name) { form.querySelector(`[name="${name}"]`).click(); },
  };
}
