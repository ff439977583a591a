// Past takes: stills, prompts, and what can be done with each.
//
// Knows what the server keeps over HTTP; nothing of sockets. Invariant: stills are fetched one after the other, so that a
// long list does not hold up a take that runs.

import { ask, askJson, blobUrl, save } from "./api.js";
import { alertUser, element, icon, make, say, showDialog } from "./dom.js";
import { download } from "./keep.js";
import { toJson, wording } from "./script.js";
import { ago, explain, timecode } from "./words.js";

const PAGE = 12;

export class Takes {
  /** @type {string | null} */
  #next = null;
  #turn = 0;

  /** @param {HTMLElement} root @param {import("./studio.js").Studio} studio */
  constructor(root, studio) {
    this.studio = studio;
    this.list = make("ul", { class: "cards", id: "cards" });
    this.more = make("button", { type: "button", text: "Earlier takes", onclick: () => { this.#page(); } });
    this.empty = make("p", { class: "hint none", hidden: true }, "No take is kept yet. What is directed in the ",
      make("a", { href: "#studio", text: "studio" }), " is found here afterwards: to be replayed, saved, gone on with, forked.");
    const again = make("button", { type: "button", text: "Look again", onclick: () => { this.show(); } });
    root.append(make("div", { class: "head" }, make("h2", { id: "takes-title", text: "Takes" }), again),
      this.empty, this.list, make("div", { class: "row" }, this.more));
  }

  async show() {
    this.#turn += 1;
    this.#next = null;
    this.list.replaceChildren();
    await this.#page();
  }

  async #page() {
    const turn = this.#turn;
    try {
      const after = this.#next === null ? "" : `&after=${encodeURIComponent(this.#next)}`;
      const { data, next_cursor: next } = await askJson(`v1/sessions?limit=${PAGE}${after}`);
      if (turn !== this.#turn) return;
      this.#next = next;
      this.empty.hidden = data.length > 0 || this.list.children.length > 0;
      this.more.hidden = next === null;
      const cards = data.map((/** @type {any} */ session) => this.#card(session));
      this.list.append(...cards.map((/** @type {any} */ card) => card.root));
      for (const card of cards) {
        if (turn === this.#turn) await card.fill();
      }
    } catch (error) {
      alertUser(explain(/** @type {any} */ (error)));
    }
  }

  /** @param {any} session */
  #card(session) {
    const { id } = session;
    const words = make("p", { text: "…" });
    const length = make("span", { class: "length" });
    const still = make("button", { class: "still", type: "button", "aria-label": "Replay", onclick: () => this.#replay(id, words) }, icon("play"), length);
    const live = session.status === "live";
    if (live) still.append(make("span", { class: "flag", text: "Live" }));
    const facts = make("p", { class: "hint", text: `${ago(session.created_at, Date.now() / 1000)}${live ? "" : `, ${session.status}`}${session.parent ? ", a fork" : ""}` });
    const act = (/** @type {string} */ text, /** @type {() => void} */ onclick, kind = "") => make("button", { type: "button", text, onclick, class: kind });
    const root = make("li", { class: "card", "data-session": id });
    const actions = make("div", { class: "row" },
      live ? act("Watch", () => { location.hash = `watch/${id}`; }) : act("Go on", () => this.#goOn(id, "resume")),
      act("Fork", () => this.#goOn(id, "fork")), act("Save", () => this.#try(() => download(id))),
      act("Script", () => this.#try(() => this.#script(id))),
      ...(live ? [] : [act("Delete", () => this.#delete(id, root), "danger")]));
    root.append(still, make("div", {}, words, facts), actions);
    return { root, fill: () => this.#fill(id, { still, words, length }) };
  }

  /** @param {string} id @param {{still: HTMLElement, words: HTMLElement, length: HTMLElement}} parts */
  async #fill(id, { still, words, length }) {
    try {
      const timeline = await askJson(`v1/sessions/${id}/timeline`);
      const first = timeline.prompts.length > 0 ? wording(timeline.prompts[0].prompts) : "";
      const further = timeline.prompts.length - 1;
      words.textContent = further > 0 ? `${first}, and ${further} more ${further === 1 ? "prompt" : "prompts"}` : first;
      length.textContent = timecode(timeline.seconds);
      still.setAttribute("aria-label", `Replay, ${timecode(timeline.seconds)}: ${first}`);
      const url = await blobUrl(`v1/sessions/${id}/thumbnail`);
      const picture = make("img", { src: url, alt: "" });
      picture.addEventListener("load", () => URL.revokeObjectURL(url));
      still.prepend(picture);
    } catch {
      still.prepend("No still");
    }
  }

  /** @param {string} id @param {HTMLElement} words */
  async #replay(id, words) {
    const wait = make("p", { role: "status", text: "The server makes the recording." });
    const dialog = showDialog("Replay", wait);
    await this.#try(async () => {
      const url = await blobUrl(`v1/sessions/${id}/recording`);
      if (!dialog.open) return URL.revokeObjectURL(url);
      const video = make("video", { src: url, controls: true, autoplay: true, loop: true, "aria-label": "The take" });
      element("dialog-body").replaceChildren(video, make("p", { text: words.textContent ?? "" }));
      dialog.addEventListener("close", () => URL.revokeObjectURL(url), { once: true });
    });
    if (wait.isConnected) wait.textContent = "There is no recording of it.";
  }

  /** @param {string} id @param {"resume" | "fork"} how */
  async #goOn(id, how) {
    await this.#try(async () => {
      const options = how === "fork" ? { method: "POST", json: {} } : { method: "POST" };
      const ticket = await askJson(`v1/sessions/${id}/${how}`, options);
      const last = ticket.next_sequence > 0 ? ticket.next_sequence - 1 : null;
      location.hash = "studio";
      this.studio.goOn({ id: ticket.session_id, token: ticket.resume_token, last });
    });
  }

  /** @param {string} id */
  async #script(id) {
    const { prompts, model, size, seed, seconds } = await askJson(`v1/sessions/${id}/timeline`);
    save(toJson(prompts, { model, size, seed, seconds }), `longtake-${id.slice(0, 8)}.json`);
  }

  /** @param {string} id @param {HTMLElement} card */
  #delete(id, card) {
    const sure = make("button", { type: "button", class: "main", text: "Delete it", onclick: async () => {
      element("dialog", HTMLDialogElement).close();
      await this.#try(async () => {
        await ask(`v1/sessions/${id}`, { method: "DELETE" });
        card.remove();
      });
    } });
    showDialog("Delete this take?", make("p", { text: "Its record and its pictures are gone then." }), make("div", { class: "row" }, sure));
  }

  /** @param {() => Promise<unknown>} work */
  async #try(work) {
    try {
      say("state", "");
      await work();
    } catch (error) {
      alertUser(explain(/** @type {any} */ (error)));
    }
  }
}
