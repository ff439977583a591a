// What a take is started with: model, size, seed, how it is sent, a picture to begin with, and the licence.
//
// Knows its fields; nothing of takes. Invariant: what a person chose stays until they choose otherwise.

import { ask } from "./api.js";
import { button, element, input, make, say } from "./dom.js";
import { chooseFormat } from "./ladder.js";
import { canFilm } from "./screen.js";

const NARROW = "longtake.narrow";

export class Setup {
  /** @type {any[]} */
  models = [];
  /** @type {Blob | null} */
  picture = null;

  /** @param {(words: string) => void} alert */
  constructor(alert) {
    this.alert = alert;
    element("preset").addEventListener("change", () => this.#shown());
    input("picture").addEventListener("change", () => this.take(input("picture").files?.[0] ?? null));
    button("picture-drop").addEventListener("click", () => this.take(null));
    input("licence").addEventListener("change", () => {
      localStorage.setItem(`longtake.licence.${this.model.id}`, input("licence").checked ? "accepted" : "");
    });
    this.#drops();
    if (!canFilm()) element("format").querySelector("option[value=m4s]")?.remove();
  }

  get model() {
    return this.models.find((model) => model.id === element("preset", HTMLSelectElement).value) ?? this.models[0] ?? null;
  }

  /** @param {any[]} models */
  offer(models) {
    this.models = models;
    element("preset").replaceChildren(...models.map((model) => make("option", { value: model.id, text: model.id })));
    this.#shown();
  }

  #shown() {
    const { model } = this;
    const sizes = model.sizes ?? [`${model.width}x${model.height}`];
    element("size").replaceChildren(
      ...sizes.map((/** @type {string} */ size) => make("option", { value: size, text: size.replace("x", " × ") })),
    );
    say("model", `${model.title ?? model.id}, ${model.width} × ${model.height}, ${model.fps} frames a second`);
    element("model").title = element("model").textContent ?? "";
    const asks = model.licence_accept_required === true;
    element("licence-line").hidden = !asks;
    const link = element("licence-link", HTMLAnchorElement);
    link.textContent = model.licence ?? "";
    link.href = model.licence_url ?? "";
    input("licence").checked = localStorage.getItem(`longtake.licence.${model.id}`) === "accepted";
    const note = model.commercial_use === false ? `${model.licence}: not for commercial use.` : "";
    element("licence-note").hidden = note === "";
    say("licence-note", note);
  }

  /** Why a take cannot be started, or "". */
  refusal() {
    if (this.model === null) return "The model is not ready yet.";
    const open = this.model.licence_accept_required === true && !input("licence").checked;
    return open ? `Accept the licence of ${this.model.id} first. It is asked for under New take.` : "";
  }

  /** Bring what has to be accepted before the eyes. */
  lookAt() {
    element("setup", HTMLDetailsElement).open = true;
    if (!element("licence-line").hidden) input("licence").focus();
  }

  /** The fields of `session.start`, once the picture is with the server. @returns {Promise<Record<string, any>>} */
  async options() {
    const [width, height] = element("size", HTMLSelectElement).value.split("x").map(Number);
    const typed = input("seed").value;
    const seed = typed === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(typed);
    const { connection } = /** @type {any} */ (navigator);
    const format = chooseFormat({
      choice: element("format", HTMLSelectElement).value,
      film: canFilm(),
      narrow: sessionStorage.getItem(NARROW) !== null,
      saveData: connection?.saveData === true,
      megabits: connection?.downlink ?? null,
      pixels: width * height,
    });
    const begun = this.picture === null ? {} : { picture_id: await this.#send(this.picture) };
    return { model: this.model.id, width, height, seed, format, ...begun };
  }

  /** A take found the link too slow for pictures. */
  noteNarrow() {
    sessionStorage.setItem(NARROW, "yes");
  }

  /** @param {Blob} picture */
  async #send(picture) {
    const headers = { "Content-Type": picture.type || "application/octet-stream" };
    const answer = await ask("v1/pictures", { method: "POST", body: picture, headers });
    return (await answer.json()).picture_id;
  }

  /** @param {File | null} file */
  take(file) {
    if (file !== null && !/^image\/(png|jpeg|webp)$/.test(file.type)) {
      this.alert("This file is no picture that can be read. PNG, JPEG and WebP can.");
      return;
    }
    const seen = element("picture-seen", HTMLImageElement);
    if (seen.src) URL.revokeObjectURL(seen.src);
    this.picture = file;
    element("picture-kept").hidden = file === null;
    if (file === null) {
      input("picture").value = "";
      seen.removeAttribute("src");
      return;
    }
    seen.src = URL.createObjectURL(file);
    seen.alt = `The picture to begin with: ${file.name}`;
    element("setup", HTMLDetailsElement).open = true;
  }

  #drops() {
    const root = document.body;
    root.addEventListener("dragover", (event) => {
      if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
      event.preventDefault();
      root.classList.add("dropping");
    });
    root.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) root.classList.remove("dropping");
    });
    root.addEventListener("drop", (event) => {
      const file = event.dataTransfer?.files[0];
      root.classList.remove("dropping");
      if (file === undefined) return;
      event.preventDefault();
      this.take(file);
    });
  }
}
