// The timeline under the picture: what was seen, what is planned, the playhead, and a cursor that chooses a moment.
//
// Knows elements and seconds; nothing of messages. Invariants: a moment is chosen by pointer or by keys alike; dragging
// the playhead back asks for another turn, a mere click only chooses; what the server has already cannot be dragged.

import { wording } from "./script.js";
import { timecode } from "./words.js";

/** @typedef {import("./script.js").Change} Change */
/** @typedef {import("./script.js").Cue} Cue */
/**
 * @typedef {{position: number, made: number, past: Change[], cues: Cue[], block: number, directs: boolean}} View
 * @typedef {{chosen: (seconds: number | null) => void, rewind: (seconds: number) => void, plan: () => void,
 *   move: (id: string, at: number) => void, remove: (id: string) => void, edit: (id: string) => void}} Hooks
 */

const HUES = 6;
const NEAR = 0.15; // seconds that count as the playhead itself
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300];
const PLAYHEAD = 0.6; // where the playhead stands once the take is longer than the strip

/** The class that gives a prompt its colour, by its place in the take. @param {number} index */
export const hueOf = (index) => (index < 0 ? "" : `hues-${index % HUES}`);

/** Where a second lies, as a share of the strip's width. */
export class Scale {
  span = 24; // seconds that are seen at once
  start = 0;

  /** @param {number} position */
  follow(position) {
    this.start = Math.max(0, position - PLAYHEAD * this.span);
  }

  /** @param {number} factor @param {number} position */
  zoom(factor, position) {
    this.span = Math.min(600, Math.max(6, this.span * factor));
    this.follow(position);
  }

  /** @param {number} seconds */
  share(seconds) {
    return (seconds - this.start) / this.span;
  }

  /** @param {number} share */
  seconds(share) {
    return Math.max(0, this.start + share * this.span);
  }

  /** Seconds that are written on the ruler; about one for each `room` of its width. @param {number} room */
  ticks(room) {
    const step = STEPS.find((one) => one >= this.span * room) ?? 600;
    const found = [];
    for (let at = Math.ceil(this.start / step) * step; at < this.start + this.span; at += step) found.push(at);
    return found;
  }
}

export class Strip {
  scale = new Scale();
  /** @type {number | null} the moment that is chosen; null: the picture's own */
  chosen = null;
  /** @type {View} */
  #view = { position: 0, made: 0, past: [], cues: [], block: 0.75, directs: false };
  /** @type {Map<string, HTMLButtonElement>} */
  #bars = new Map();
  /** @type {{id: string, shift: number, moved: boolean} | {cursor: boolean} | null} */
  #drag = null;
  #ruled = "";

  /** @param {HTMLElement} root @param {Hooks} hooks */
  constructor(root, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.ruler = /** @type {HTMLElement} */ (root.querySelector(".ruler"));
    this.track = /** @type {HTMLElement} */ (root.querySelector(".track"));
    this.cursor = /** @type {HTMLElement} */ (root.querySelector(".cursor"));
    this.ahead = root.appendChild(mark("ahead"));
    this.head = root.appendChild(mark("head"));
    root.addEventListener("pointerdown", (event) => this.#press(event));
    root.addEventListener("pointermove", (event) => this.#pull(event));
    root.addEventListener("pointerup", () => this.#release());
    root.addEventListener("pointercancel", () => { this.#drag = null; });
    root.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.cursor.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {number | null} seconds */
  choose(seconds) {
    const near = seconds !== null && Math.abs(seconds - this.#view.position) < NEAR;
    this.chosen = near ? null : seconds;
    this.hooks.chosen(this.chosen);
    this.render(this.#view);
  }

  /** @param {View} view */
  render(view) {
    this.#view = view;
    if (this.chosen === null && this.#drag === null) this.scale.follow(view.position);
    this.#rule();
    this.#place(this.ahead, view.position, Math.max(view.position, view.made));
    this.#place(this.head, view.position, null);
    const at = this.chosen ?? view.position;
    this.#place(this.cursor, at, null);
    this.cursor.toggleAttribute("data-away", this.chosen !== null);
    const seconds = this.chosen === null ? Math.round(at) : Math.round(at * 100) / 100;
    if (this.cursor.getAttribute("aria-valuenow") !== `${seconds}`) {
      this.cursor.setAttribute("aria-valuenow", `${seconds}`);
      this.cursor.setAttribute("aria-valuemax", `${Math.max(seconds, Math.ceil(view.made))}`);
      this.cursor.setAttribute("aria-valuetext", timecode(seconds));
    }
    this.#bring(view);
  }

  /** @param {View} view */
  #bring({ past, cues, made, block }) {
    const wanted = new Set();
    past.forEach((change, index) => {
      const until = past[index + 1]?.at ?? Math.max(made, change.at);
      wanted.add(change.id);
      const bar = this.#bar(change, index, "");
      this.#place(bar, change.at, until);
      const fade = (change.transition * block) / Math.max(until - change.at, 0.01);
      bar.toggleAttribute("data-blend", change.transition > 0 && index > 0);
      bar.style.setProperty("--fade", `${Math.min(100, fade * 100)}%`);
      bar.style.setProperty("--before", `var(--hue-${(index + HUES - 1) % HUES})`);
    });
    cues.forEach((cue, index) => {
      wanted.add(cue.id);
      const next = cues[index + 1]?.at ?? Infinity;
      const bar = this.#bar(cue, past.length + index, cue.sent ? "sent" : "planned");
      this.#place(bar, cue.planned ? cue.at : Math.max(cue.at, made), Math.min(next, Math.max(cue.at, made) + this.scale.span / 5));
    });
    for (const [id, bar] of this.#bars) {
      if (wanted.has(id)) continue;
      bar.remove();
      this.#bars.delete(id);
    }
  }

  /** @param {Change} change @param {number} index @param {string} cue */
  #bar(change, index, cue) {
    let bar = this.#bars.get(change.id);
    if (bar === undefined) {
      bar = document.createElement("button");
      bar.type = "button";
      bar.append(document.createElement("span"));
      bar.addEventListener("keydown", (event) => this.#barKey(event, change.id));
      bar.addEventListener("click", (event) => { if (event.detail === 0) this.#pick(change.id); });
      this.#bars.set(change.id, bar);
      this.track.append(bar);
    }
    const words = wording(change.prompts);
    const label = `${timecode(change.at)}, ${words}${cue === "planned" ? ", planned" : ""}`;
    if (bar.getAttribute("aria-label") !== label) {
      bar.setAttribute("aria-label", label);
      bar.title = words;
      /** @type {HTMLElement} */ (bar.firstElementChild).textContent = words;
    }
    bar.className = `change ${hueOf(index)}`;
    bar.dataset.mode = change.mode;
    bar.dataset.id = change.id;
    if (cue === "") delete bar.dataset.cue;
    else bar.dataset.cue = cue;
    return bar;
  }

  /** @param {string} id */
  #pick(id) {
    if (this.#cue(id)) this.hooks.edit(id);
    else this.choose(this.#view.past.find((change) => change.id === id)?.at ?? null);
  }

  /** A cue that can still be moved. @param {string | undefined} id */
  #cue(id) {
    return this.#view.cues.find((cue) => cue.id === id && !cue.sent) ?? null;
  }

  /** @param {HTMLElement} element @param {number} from @param {number | null} until */
  #place(element, from, until) {
    const left = this.scale.share(from);
    const gone = left > 1.02 || (until === null ? left < -0.02 : this.scale.share(until) < -0.001);
    element.hidden = gone;
    if (gone) return;
    const begin = until === null ? left : Math.max(left, -0.002);
    element.style.left = `${begin * 100}%`;
    if (until !== null) element.style.width = `${Math.max(0.2, (this.scale.share(until) - begin) * 100)}%`;
  }

  #rule() {
    const width = this.root.clientWidth || 600;
    const ticks = this.scale.ticks(64 / width);
    const ruled = `${width} ${this.scale.span} ${ticks[0]}`;
    if (ruled !== this.#ruled) {
      this.#ruled = ruled;
      this.ruler.replaceChildren(...ticks.map((at) => {
        const tick = document.createElement("span");
        tick.textContent = timecode(at, this.scale.span < 8 ? 1 : 0);
        return tick;
      }));
    }
    ticks.forEach((at, index) => {
      /** @type {HTMLElement} */ (this.ruler.children[index]).style.left = `${this.scale.share(at) * 100}%`;
    });
  }

  /** @param {MouseEvent} event */
  #secondsAt(event) {
    const box = this.root.getBoundingClientRect();
    return this.scale.seconds((event.clientX - box.left) / box.width);
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button !== 0) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const cue = this.#cue(/** @type {HTMLElement | null} */ (target.closest(".change"))?.dataset.id);
    const at = this.#secondsAt(event);
    if (cue) this.#drag = { id: cue.id, shift: cue.at - at, moved: false };
    else this.#drag = { cursor: target === this.cursor && this.chosen === null };
    if (!cue && target !== this.cursor) this.choose(at);
    this.root.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #pull(event) {
    if (this.#drag === null) return;
    const at = this.#secondsAt(event);
    if ("id" in this.#drag) {
      this.#drag.moved = true;
      this.#moveCue(this.#drag.id, at + this.#drag.shift);
    } else this.choose(at);
  }

  #release() {
    const drag = this.#drag;
    this.#drag = null;
    if (drag !== null && "id" in drag && !drag.moved) this.hooks.edit(drag.id);
    if (drag === null || "id" in drag || this.chosen === null) return;
    if (this.chosen > this.#view.position) this.hooks.plan();
    else if (drag.cursor) this.#rewind();
  }

  #rewind() {
    if (this.chosen === null || !this.#view.directs) return;
    this.hooks.rewind(this.chosen);
    this.choose(null);
  }

  /** @param {string} id @param {number} at */
  #moveCue(id, at) {
    this.hooks.move(id, Math.max(at, this.#view.made));
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.scale.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.#view.position);
    this.render(this.#view);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { position, block } = this.#view;
    const at = this.chosen ?? position;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => this.choose(Math.max(0, at - block)),
      ArrowRight: () => this.choose(at + block),
      ArrowDown: () => this.choose(Math.max(0, at - block)),
      ArrowUp: () => this.choose(at + block),
      PageDown: () => this.choose(Math.max(0, at - 5)),
      PageUp: () => this.choose(at + 5),
      Home: () => this.choose(0),
      End: () => this.choose(null),
      Escape: () => this.choose(null),
      "+": () => this.scale.zoom(0.8, position),
      "-": () => this.scale.zoom(1.25, position),
      Enter: () => (at > position ? this.hooks.plan() : this.#rewind()),
    };
    const act = keys[event.key];
    if (act === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  /** @param {KeyboardEvent} event @param {string} id */
  #barKey(event, id) {
    const cue = this.#cue(id);
    if (cue === null) return;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => this.#moveCue(id, cue.at - this.#view.block),
      ArrowRight: () => this.#moveCue(id, cue.at + this.#view.block),
      Delete: () => this.hooks.remove(id),
      Backspace: () => this.hooks.remove(id),
    };
    if (keys[event.key] === undefined) return;
    event.preventDefault();
    keys[event.key]();
  }
}

/** @param {string} name */
function mark(name) {
  const element = document.createElement("div");
  element.className = name;
  return element;
}
