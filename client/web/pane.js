// A pane: a take's picture, what is said over it, full screen and picture in picture.
//
// Knows its elements and its take; nothing of the rest of the page. Invariant: the picture has a description that says
// what it shows.

import { wording } from "./script.js";

/** @typedef {import("./take.js").Take} Take */

export class Pane {
  /** @type {Take | null} */
  take = null;
  /** @type {HTMLVideoElement | null} */
  #small = null;

  /** @param {{choose: (pane: Pane) => void, shut: (pane: Pane) => void, alert: (words: string) => void}} hooks */
  constructor(hooks) {
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("pane-template"));
    const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    this.root = /** @type {HTMLElement} */ (copy.firstElementChild);
    /** @param {string} name */
    const part = (name) => /** @type {HTMLElement} */ (this.root.querySelector(name));
    this.screen = part(".screen");
    this.curtain = part(".curtain");
    this.lamp = part(".lamp");
    this.now = part(".now");
    this.choose = part(".choose");
    this.shut = part(".shut");
    this.pip = part(".pip");
    this.pip.hidden = !document.pictureInPictureEnabled;
    this.choose.addEventListener("click", () => hooks.choose(this));
    this.screen.addEventListener("pointerdown", () => hooks.choose(this));
    this.shut.addEventListener("click", () => hooks.shut(this));
    this.alert = hooks.alert;
    this.pip.addEventListener("click", () => this.float());
    part(".full").addEventListener("click", () => this.fill());
  }

  /** @param {HTMLElement} picture */
  mount(picture) {
    for (const old of this.screen.querySelectorAll(":scope > canvas, :scope > video")) old.remove();
    picture.setAttribute("role", "img");
    this.screen.prepend(picture);
    this.#small = null;
  }

  /** @param {{active: boolean, alone: boolean, hint: string}} how */
  render({ active, alone, hint }) {
    const { take } = this;
    this.root.toggleAttribute("data-active", active);
    this.choose.hidden = alone || active;
    this.shut.hidden = alone;
    const seen = take !== null && take.showing.shown >= 0;
    const words = seen ? "" : take === null ? hint : curtainOf(take);
    if (this.curtain.textContent !== words) this.curtain.textContent = words;
    this.curtain.hidden = words === "";
    this.#light(take);
    const change = seen ? take.script.at(take.position) : null;
    const now = change === null ? "" : wording(change.prompts);
    if (this.now.textContent === now) return;
    this.now.textContent = now;
    this.screen.firstElementChild?.setAttribute("aria-label", now === "" ? "No picture yet" : `Moving picture of: ${now}`);
  }

  /** @param {Take | null} take */
  #light(take) {
    this.lamp.hidden = take === null;
    if (take === null) return;
    const [kind, words] = lampOf(take);
    this.lamp.dataset.kind = kind;
    if (this.lamp.textContent !== words) this.lamp.textContent = words;
  }

  /** The picture alone on the screen, and back. */
  async fill() {
    try {
      await (document.fullscreenElement ? document.exitFullscreen() : this.screen.requestFullscreen());
    } catch {
      this.alert("This browser does not let the picture fill the screen.");
    }
  }

  /** The picture in a small window above all others, and back. */
  async float() {
    const picture = this.screen.querySelector(":scope > canvas, :scope > video");
    if (picture === null) return this.alert("There is no picture yet.");
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await (await this.#floating(picture)).requestPictureInPicture();
    } catch {
      this.alert("This browser does not show the picture in a window of its own.");
    }
  }

  /** What can float of a picture: films can, a canvas is filmed. @param {Element} picture */
  async #floating(picture) {
    if (picture instanceof HTMLVideoElement) return picture;
    if (this.#small === null) {
      this.#small = document.createElement("video");
      this.#small.muted = true;
      this.#small.srcObject = /** @type {HTMLCanvasElement} */ (picture).captureStream();
    }
    await this.#small.play();
    return this.#small;
  }
}

/** @param {Take} take @returns {[string, string]} */
function lampOf(take) {
  if (take.state === "ended") return ["off", "Ended"];
  if (take.returning) return ["wait", "Connection lost"];
  if (take.restarting) return ["wait", "Engine restarting"];
  if (take.state !== "running") return ["wait", take.state === "waiting" ? "Waiting" : "Starting"];
  if (take.paused) return ["off", "Paused"];
  return ["live", take.role === "viewer" ? "Watching" : "Live"];
}

/** @param {Take} take */
function curtainOf(take) {
  if (take.state === "waiting") return take.place;
  if (take.state === "connecting") return "Connecting.";
  return take.state === "ended" ? "Nothing was seen of this take." : "Making the first frames.";
}
