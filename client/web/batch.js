// Batch: a story as a list of prompts, handed to the server to be made when it has time; how far jobs are; their films.
//
// Knows the REST of jobs; nothing of sockets. Invariants: jobs are looked at only while the page shows them and one of
// them is not done; sending a story twice by accident makes one job.

import { ask, askJson, blobUrl } from "./api.js";
import { alertUser, element, field, icon, make, showDialog } from "./dom.js";
import { MODES, fromJson, wording } from "./script.js";
import { ago, explain } from "./words.js";

const LOOK_MS = 1500;
const OPEN = ["queued", "in_progress"];
/** @type {Record<string, string>} */
const WORDS = { queued: "Waiting", in_progress: "Being made", completed: "Ready", failed: "Failed", cancelled: "Cancelled" };
const NAMES = { recache: "Evolve", flush: "Swift", cut: "Cut", keep: "Drift" };

export class Batch {
  #rows = 0;
  #timer = 0;
  #attempt = crypto.getRandomValues(new Uint32Array(4)).join("-");
  /** @type {Map<string, {root: HTMLElement, seen: string}>} */
  #jobs = new Map();

  /** @param {HTMLElement} root @param {import("./studio.js").Studio} studio */
  constructor(root, studio) {
    this.root = root;
    this.studio = studio;
    this.story = make("ol", { class: "story", id: "story", "aria-label": "The story" });
    this.seconds = make("input", { id: "job-seconds", type: "number", min: 1, max: 3600, step: 1, value: 12, required: true });
    this.seed = make("input", { id: "job-seed", type: "number", min: 0, max: 9007199254740991, placeholder: "a new one" });
    this.list = make("ul", { class: "jobs", id: "jobs" });
    this.empty = make("p", { class: "hint none", hidden: true, text: "No job yet. A story that is sent is found here, and its film when it is ready." });
    const form = make("form", { id: "job-form" }, this.story);
    form.className = "desk";
    const read = make("input", { id: "story-in", type: "file", accept: "application/json,.json", class: "unseen", onchange: () => { this.#read(read); } });
    form.append(
      make("div", { class: "row" }, make("button", { type: "button", id: "story-add", text: "Add a prompt", onclick: () => this.#add() }),
        make("label", { class: "button", for: "story-in", text: "Import script" }), read),
      make("div", { class: "settings" }, field("Length, seconds", this.seconds), field("Seed", this.seed),
        make("button", { type: "submit", class: "main", id: "job-send", text: "Render" })),
    );
    form.addEventListener("submit", (event) => { event.preventDefault(); this.#send(); });
    root.append(make("div", { class: "head" }, make("h2", { id: "batch-title", text: "Batch" })),
      make("p", { class: "quiet", text: "A story is a list of prompts by their seconds. It is made when the machine has time, exactly as written." }), form,
      make("h3", { text: "Jobs" }), this.empty, this.list);
    this.#add(studio.setup.model?.suggested_prompts?.[0] ?? "", 0);
    this.#add(studio.setup.model?.suggested_prompts?.[1] ?? "", 6);
  }

  async show() {
    clearTimeout(this.#timer);
    await this.#look();
  }

  /** @param {string} text @param {number | null} at @param {string} mode @param {number} fade */
  #add(text = "", at = null, mode = "recache", fade = 0) {
    this.#rows += 1;
    const id = (/** @type {string} */ name) => `story-${name}-${this.#rows}`;
    const last = /** @type {HTMLInputElement | null} */ (this.story.querySelector("li:last-child .at"));
    const when = make("input", { id: id("at"), class: "at", type: "number", min: 0, step: "any", value: at ?? Number(last?.value ?? -6) + 6, required: true });
    const what = make("input", { id: id("text"), class: "text", type: "text", value: text, required: true, maxlength: 2000, placeholder: "What is to be seen" });
    const how = make("select", { id: id("mode"), class: "mode" }, ...MODES.map((one) => make("option", { value: one, text: NAMES[one], selected: one === mode })));
    const over = make("input", { id: id("fade"), class: "fade-blocks", type: "number", min: 0, max: 64, value: fade });
    const row = make("li", {}, field("At second", when), field("Prompt", what, "field what"), field("Change", how), field("Fade, blocks", over),
      make("button", { type: "button", class: "plain", text: "Remove", onclick: () => { if (this.story.children.length > 1) row.remove(); } }));
    this.story.append(row);
    return row;
  }

  /** @param {HTMLInputElement} from */
  async #read(from) {
    const file = from.files?.[0];
    if (file === undefined) return;
    try {
      const { changes, seed, seconds } = fromJson(await file.text());
      this.story.replaceChildren();
      for (const change of changes) {
        const row = this.#add(wording(change.prompts), change.at, change.mode, change.transition);
        if (change.prompts.length > 1) row.dataset.prompts = JSON.stringify(change.prompts);
      }
      if (seed !== null) this.seed.value = `${seed}`;
      this.seconds.value = `${Math.ceil(seconds ?? changes[changes.length - 1].at + 6)}`;
    } catch (error) {
      alertUser(/** @type {Error} */ (error).message);
    }
    from.value = "";
  }

  #written() {
    return [...this.story.children].map((row) => {
      const value = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (row.querySelector(name)).value;
      const blend = /** @type {HTMLElement} */ (row).dataset.prompts;
      const read = blend === undefined ? null : JSON.parse(blend);
      const prompts = read !== null && wording(read) === value(".text") ? read : [{ text: value(".text").trim(), weight: 1 }];
      const mode = value(".mode");
      return { at: Number(value(".at")), prompts, mode, transition: mode === "cut" ? 0 : Number(value(".fade-blocks")) };
    }).sort((one, other) => one.at - other.at);
  }

  async #send() {
    const send = element("job-send", HTMLButtonElement);
    const { model } = this.studio.setup;
    send.disabled = true;
    try {
      const seed = this.seed.value === "" ? {} : { seed: Number(this.seed.value) };
      const json = { prompts: this.#written(), seconds: this.seconds.value, ...(model ? { model: model.id } : {}), ...seed };
      await ask("v1/videos", { method: "POST", json, headers: { "Idempotency-Key": this.#attempt } });
      this.#attempt = crypto.getRandomValues(new Uint32Array(4)).join("-");
      alertUser("");
      await this.show();
    } catch (error) {
      if (/** @type {any} */ (error).status) this.#attempt = crypto.getRandomValues(new Uint32Array(4)).join("-");
      alertUser(explain(/** @type {any} */ (error)));
    }
    send.disabled = false;
  }

  async #look() {
    if (this.root.hidden) return;
    try {
      const { data } = await askJson("v1/videos?limit=20");
      this.empty.hidden = data.length > 0;
      for (const [id, job] of this.#jobs) {
        if (data.some((/** @type {any} */ one) => one.id === id)) continue;
        job.root.remove();
        this.#jobs.delete(id);
      }
      data.forEach((/** @type {any} */ video, /** @type {number} */ place) => this.#put(video, place));
      if (data.some((/** @type {any} */ one) => OPEN.includes(one.status))) this.#timer = setTimeout(() => this.#look(), LOOK_MS);
    } catch (error) {
      alertUser(explain(/** @type {any} */ (error)));
    }
  }

  /** @param {any} video @param {number} place */
  #put(video, place) {
    const known = this.#jobs.get(video.id);
    const seen = `${video.status} ${video.progress} ${video.waiting?.code ?? ""}`;
    if (known?.seen === seen) return;
    const root = known?.root ?? make("li", { "data-job": video.id });
    this.#jobs.set(video.id, { root, seen });
    if (!known) this.list.insertBefore(root, this.list.children[place] ?? null);
    const done = video.status === "completed";
    const why = video.waiting ?? video.error;
    const facts = [`${video.seconds} s`, (video.size ?? "").replace("x", " × "), ago(video.created_at, Date.now() / 1000), why ? explain(why) : ""];
    const thumb = make("div", { class: "thumb" }, icon(done ? "play" : "wait"));
    if (done) this.#still(video.id, thumb);
    const act = (/** @type {string} */ text, /** @type {() => void} */ onclick, kind = "") => make("button", { type: "button", text, onclick, class: kind });
    const actions = done ? [act("Replay", () => this.#replay(video)), act("Save", () => this.#save(video))] : [];
    if (OPEN.includes(video.status)) actions.push(act("Cancel", () => this.#ask(`v1/videos/${video.id}/cancel`, "POST")));
    else actions.push(act("Delete", () => this.#ask(`v1/videos/${video.id}`, "DELETE"), "danger"));
    const bar = make("progress", { max: 100, value: video.progress ?? 0, "aria-label": `Progress of ${video.prompt ?? video.id}` });
    root.replaceChildren(
      thumb, make("div", {}, make("p", { text: video.prompt ?? video.id }),
        make("p", { class: "hint" }, make("span", { class: "pill", "data-status": video.status, text: WORDS[video.status] ?? video.status }),
          facts.filter((one) => one !== "").join(", "))),
      make("div", { class: "row" }, ...actions), ...(video.status === "in_progress" ? [bar] : []),
    );
  }

  /** @param {string} id @param {HTMLElement} into */
  async #still(id, into) {
    try {
      const url = await blobUrl(`v1/videos/${id}/content?variant=thumbnail`);
      const picture = make("img", { src: url, alt: "" });
      picture.addEventListener("load", () => URL.revokeObjectURL(url));
      into.replaceChildren(picture);
    } catch {
      // The film is there all the same.
    }
  }

  /** @param {any} video */
  async #replay(video) {
    await this.#try(async () => {
      const url = await blobUrl(`v1/videos/${video.id}/content`);
      const dialog = showDialog("Replay", make("video", { src: url, controls: true, autoplay: true, loop: true, "aria-label": "The film" }),
        make("p", { text: video.prompt ?? "" }));
      dialog.addEventListener("close", () => URL.revokeObjectURL(url), { once: true });
    });
  }

  /** @param {any} video */
  async #save(video) {
    await this.#try(async () => {
      const url = await blobUrl(`v1/videos/${video.id}/content`);
      make("a", { href: url, download: `${video.id}.mp4` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    });
  }

  /** @param {string} path @param {string} method */
  async #ask(path, method) {
    await this.#try(async () => {
      await ask(path, { method });
      await this.show();
    });
  }

  /** @param {() => Promise<unknown>} work */
  async #try(work) {
    try {
      await work();
    } catch (error) {
      alertUser(explain(/** @type {any} */ (error)));
    }
  }
}
