// What the page asks its server for, below the address that it was opened with.
const base = new URL("./", location.href);

export class Refused extends Error {
  constructor(message, code, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

async function answered(path, options = {}) {
  let response;
  try {
    response = await fetch(new URL(path, base), { cache: "no-store", ...options });
  } catch {
    throw new Refused("The program does not answer. Nothing is lost: start it again with the same command.", "", 0);
  }
  if (response.ok) return response;
  let said = {};
  try { said = await response.json(); } catch { /* no document: the status has to do */ }
  throw new Refused(said.message || `The program answered with status ${response.status}.`, said.code || "", response.status);
}

export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  return (await answered(path, options)).json();
}

// Grey pictures of one size, one after another; null where there is none.
export async function pictures(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const response = await answered(path, options);
  if (response.status === 204) return null;
  const width = Number(response.headers.get("x-width")), height = Number(response.headers.get("x-height"));
  const bytes = new Uint8Array(await response.arrayBuffer()), planes = [];
  for (let at = 0; at < bytes.length; at += width * height) planes.push(bytes.subarray(at, at + width * height));
  return { width, height, planes, sides: (response.headers.get("x-sides") || "").split(",") };
}

// Files as one batch; tells how far it has come.
export async function upload(files, tell) {
  const { batch } = await ask("batch", {});
  let done = 0;
  for (const file of files) {
    tell(`sending ${file.name}${files.length > 1 ? `, ${done + 1} of ${files.length}` : ""}`);
    await answered(`batch/${batch}?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file });
    done += 1;
  }
  return batch;
}

// Calls `news` with every event, and `gone` while the program does not answer.
export function listen(news, gone) {
  const events = new EventSource(new URL("events", base));
  let ended = false;
  events.onmessage = (event) => { ended = false; news(JSON.parse(event.data)); };
  events.addEventListener("end", () => { ended = true; gone(); });
  events.onerror = () => { if (!ended) gone(); };
}

export const address = (path) => new URL(path, base).href;
