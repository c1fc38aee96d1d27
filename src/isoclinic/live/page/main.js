// The page: its state is that of the program behind it, and every change goes there first.
import * as compare from "./compare.js";
import { Files } from "./files.js";
import { Hand } from "./hand.js";
import { Landmarks } from "./marks.js";
import { Masks } from "./masks.js";
import { Panel } from "./panel.js";
import { ask, listen, pictures } from "./server.js";
import { Stage } from "./stage.js";

const find = (id) => document.getElementById(id);

// Lists that are made anew keep the place of the keyboard in them.
function keepingFocus(work) {
  const list = document.activeElement?.closest("#steps, #landmarks, #kinds, #structures");
  const controls = () => [...list.querySelectorAll("button, input")];
  const place = list ? controls().indexOf(document.activeElement) : -1;
  work();
  if (place >= 0 && !list.contains(document.activeElement)) controls()[Math.min(place, controls().length - 1)]?.focus();
}

class Page {
  constructor() {
    this.state = null;
    this.stages = [];
    this.pose = null;
    this.shown = -1;
    this.converging = 0;
    this.moves = 0;
    this.queue = Promise.resolve();
    this.hand = new Hand(this);
    this.panel = new Panel(this);
    this.files = new Files(this);
    this.landmarks = new Landmarks(this);
    this.masks = new Masks(this);
    this.compare = compare.connect(find("compare"), (name) => this.compared(name));
    find("hand").addEventListener("change", () => this.describe());
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("refused", (event) => this.refused(event.detail));
    find("message").querySelector("button").addEventListener("click", () => this.say(""));
    window.addEventListener("resize", () => this.mark());
  }

  get isocentre() { return this.state.isocentre; }
  get mode() { return find("hand").querySelector(":checked").value; }
  get step() { return Number(find("move").querySelector('[name="step"]:checked').value); }
  get locked() { return Boolean(this.state?.running.active); }

  async begin() {
    await this.reload();
    listen((news) => this.told(news), () => this.gone());
  }

  async reload() { await this.take(await ask("state")); }

  // A change of the workspace; resolves to what is said about it, or null where it was refused or is none. Changes
  // wait for those before them; `more` may be a function of the state that they have led to.
  change(action, more = {}) {
    const turn = this.queue.then(() => this.changeNow(action, typeof more === "function" ? more(this.state) : more));
    this.queue = turn.catch(() => null);
    return turn;
  }

  async changeNow(action, more) {
    if (!more) return null;
    document.body.classList.add("waiting");
    const { moves } = this;
    try {
      const { state, said } = await ask("change", { do: action, revision: this.state.revision, ...more });
      this.say("");
      // What the hand has done meanwhile is not undone by the answer.
      await this.take(state, moves === this.moves ? state.pose : this.pose);
      return said;
    } catch (error) {
      await this.refused(error);
      return null;
    } finally {
      document.body.classList.remove("waiting");
    }
  }

  async attempt(work) {
    try {
      return await work();
    } catch (error) {
      await this.refused(error);
      return null;
    }
  }

  async refused(error) {
    this.say(error.code ? `${error.message} [${error.code}]` : error.message);
    if (error.status === 409 || error.status === 422) await this.reload();
    else if (error.status === undefined) throw error;
  }

  say(text) {
    find("message").hidden = !text;
    find("message").querySelector("span").textContent = text;
  }

  async take(state, pose = state.pose) {
    const before = this.state;
    this.state = state;
    const same = (name) => before && JSON.stringify(before[name]) === JSON.stringify(state[name]);
    this.pose = pose;
    if (!(same("views") && same("shapes") && same("reading") && same("inputs"))) await this.build();
    keepingFocus(() => {
      this.panel.show(state);
      this.files.show(state);
      this.landmarks.show(state);
      this.masks.show(state);
    });
    this.describe();
    this.render(true);
    this.mark();
    document.body.dataset.revision = state.revision;
  }

  async build() {
    const { views, moving_px, resting_px } = this.state;
    this.stages = views.map((view, index) => new Stage(find("view-template"), index, view, moving_px, resting_px));
    find("views").replaceChildren(...this.stages.map((stage) => stage.element));
    find("views").dataset.count = this.stages.length;
    find("empty").hidden = this.stages.length > 0;
    for (const id of ["hand", "keys"]) find(id).hidden = !this.stages.length;
    this.stages.forEach((stage) => this.hand.connect(stage));
    await this.attempt(() => Promise.all(this.stages.map((stage) => stage.load())));
  }

  // The CT at the pose in use, in every picture.
  render(sharp, at) {
    if (this.pose && this.isocentre && !this.locked) for (const stage of this.stages) stage.want(this.pose, sharp, at);
  }

  mark() {
    this.landmarks.draw();
    this.masks.draw();
  }

  moved(pose, at) {
    this.pose = pose;
    this.moves += 1;
    this.render(false, at);
    this.later();
  }

  // What need not follow the hand at once is shown once before the next repaint.
  later() {
    this.repaint ||= requestAnimationFrame(() => {
      this.repaint = 0;
      this.panel.numbers(this.pose);
      this.mark();
    });
  }

  sharpened() { this.render(true); }

  async rested() {
    if (JSON.stringify(this.pose) === JSON.stringify(this.state.pose)) this.render(true);
    else await this.change("pose", () => ({ pose: this.pose }));
  }

  compared(name) {
    if (name === "bone") this.render(true);
    for (const stage of this.stages) stage.draw();
  }

  hovered(stage, pixel) {
    for (const other of this.stages) if (other !== stage) other.epipolar(stage, pixel);
  }

  clicked(stage, pixel, kind, phase, event) {
    if (kind === "mark") {
      if (phase === "up" && stage.inside(pixel)) this.landmarks.marked(stage, pixel);
    } else this.masks.drawn(stage, pixel, phase, event);
  }

  // Marking without a pointer: the arrow keys move a cursor, Enter or Space clicks there.
  cursor(stage, event, arrow) {
    const { view } = stage;
    stage.at ||= [Math.round(view.width / 2), Math.round(view.height / 2)];
    if (arrow) {
      const step = event.shiftKey ? 10 : 1;
      stage.at = [
        Math.min(Math.max(stage.at[0] + step * arrow[0], 0), view.width - 1),
        Math.min(Math.max(stage.at[1] + step * arrow[1], 0), view.height - 1),
      ];
      this.hovered(stage, stage.at);
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.mode === "mark") this.landmarks.marked(stage, stage.at);
      else this.masks.corner(stage, stage.at, event.shiftKey);
    } else return;
    event.preventDefault();
    event.stopPropagation();
    stage.cross(stage.group("cursor"), stage.at, "cursor");
  }

  describe() {
    for (const stage of this.stages) {
      stage.stage.dataset.hand = this.mode;
      if (this.mode !== "mark" && this.mode !== "mask") stage.group("cursor");
    }
  }

  key(event) {
    const typing = event.target.matches("input:not([type=radio], [type=checkbox]), select, textarea");
    const undo = (event.ctrlKey || event.metaKey) && !event.altKey;
    if (typing || event.defaultPrevented || event.altKey || (undo && !"zy".includes(event.key.toLowerCase()))) return;
    const key = event.key.toLowerCase();
    const does = {
      z: () => (event.shiftKey ? this.panel.redo() : this.panel.undo()), y: () => this.panel.redo(),
      f: () => this.panel.stepBy(-1), c: () => this.panel.stepBy(1), e: () => this.compare.toggle("edges"),
      escape: () => (this.locked ? this.panel.cancel() : this.masks.drop()),
      1: () => this.compare.choose("blend"), 2: () => this.compare.choose("tiles"),
      3: () => this.compare.choose("swipe"), 4: () => this.compare.choose("flicker"),
      5: () => this.compare.choose("edges"),
    };
    if (key === "enter" && event.target.matches(".stage, body")) this.panel.register();
    else if (does[key]) does[key]();
    else return;
    event.preventDefault();
  }

  async told({ revision, doing, running }) {
    if (!this.state) return;
    document.body.classList.remove("gone");
    const ended = this.state.running.active && !running.active;
    this.state.running = running;
    this.state.doing = doing;
    this.panel.progress(this.state);
    if (running.active) await this.attempt(() => this.follow(running));
    // A change of this page is answered to it; whatever else has changed is shown now.
    else if ((ended || revision > this.state.revision) && !document.body.classList.contains("waiting")) {
      // What another window has done is not undone by a drag that began before it.
      if (!ended) this.hand.drop();
      await this.attempt(() => this.reload());
      if (running.error) this.say(running.error.code ? `${running.error.message} [${running.error.code}]` : running.error.message);
    }
  }

  // What a running registration has come to.
  async follow({ count, pose }) {
    if (!pose || count === this.converging) return;
    this.converging = count;
    this.panel.numbers(pose);
    for (const stage of this.stages) {
      const frame = await pictures(`converging/${stage.index}`);
      if (frame && this.locked) stage.show(frame);
    }
    this.landmarks.draw(pose);
  }

  gone() {
    document.body.classList.add("gone");
    this.say("The program does not answer. Nothing is lost: start it again with the same command, and open the address that it prints.");
  }
}

const page = new Page();
page.begin().then(() => document.documentElement.classList.add("ready"), (error) => page.say(error.message));
