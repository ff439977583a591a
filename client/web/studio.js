// The studio: panes with takes, the desk that directs one of them, and what keeps them over a reload.
//
// Knows the page's elements and takes; the wire is the takes' own. Invariants: one pane is directed at a time; what the
// buttons offer is what the take can do now; a reload goes on with every take that this window directs.

import { askJson } from "./api.js";
import { alertUser, button, element, input, make, say, showDialog } from "./dom.js";
import { Figures } from "./figures.js";
import { Pane } from "./pane.js";
import { makeScreen } from "./screen.js";
import { Setup } from "./setup.js";
import { Strip } from "./strip.js";
import { Take } from "./take.js";
import { explain, timecode } from "./words.js";

const SAVED = "longtake.takes";
const REPORT_MS = 250;
/** What outlives a take is asked for later than its picture. */
const keeping = async () => await import("./keep.js");
const HINT = "Write what the take begins with, and press Enter.";
/** @type {Record<string, string>} */
const MODE_HINTS = {
  recache: "The past is seen anew: the take goes on and turns into what you ask for.",
  flush: "Only the last moment is kept, so the change is quicker and freer.",
  cut: "Nothing is kept: a new scene begins.",
  keep: "Everything is kept, so the change is slow and may be partial.",
};

export class Studio {
  setup = new Setup(alertUser);
  figures = new Figures();
  /** @type {Pane[]} */
  panes = [];
  /** @type {Pane} */
  active;
  /** @type {import("./script.js").Change[]} a script that waits for the next take */
  waiting = [];
  saving = false; // the server makes a recording for this page
  #beginning = false; // a picture may be on its way first: one take is begun, however often it is asked for
  #query = new URLSearchParams(location.search);

  constructor() {
    this.active = this.#open();
    this.strip = new Strip(element("strip"), {
      chosen: (seconds) => this.#chosen(seconds),
      rewind: (seconds) => this.take?.rewind(seconds, false),
      plan: () => element("prompt").focus(),
      move: (id, at) => { if (this.take?.script.move(id, at)) this.render(); },
      remove: (id) => { this.take?.script.remove(id); this.render(); },
      edit: (id) => this.#edit(id),
    });
    this.#listen();
    setInterval(() => { for (const pane of this.panes) pane.take?.report(); }, REPORT_MS);
    const animate = () => {
      this.#live();
      requestAnimationFrame(animate);
    };
    animate();
    this.render();
  }

  get take() {
    return this.active.take;
  }

  get prompt() {
    return element("prompt", HTMLTextAreaElement);
  }

  // Takes

  /** A take in a pane. @param {Pane} pane */
  #new(pane) {
    const how = { worker: this.#query.get("painter") !== "page" };
    pane.take?.close();
    const take = new Take({
      screen: async (format, tell) => {
        const screen = await makeScreen(format, tell, how);
        pane.mount(screen.element);
        return screen;
      },
      changed: () => this.render(),
      alert: alertUser,
      tell: (words) => say("state", words),
      forked: (ticket) => this.#forked(take, ticket),
      keep: () => this.#keep(),
      strange: () => this.#remember(take),
    });
    pane.take = take;
    return take;
  }

  #open() {
    const pane = new Pane({ choose: (one) => this.#choose(one), shut: (one) => this.#shut(one), alert: alertUser });
    this.panes.push(pane);
    element("panes").append(pane.root);
    return pane;
  }

  /** @param {Pane} pane */
  #choose(pane) {
    if (this.active === pane) return;
    this.active = pane;
    this.strip.choose(null);
    this.render();
  }

  /** @param {Pane} pane */
  #shut(pane) {
    pane.take?.close();
    pane.root.remove();
    this.panes = this.panes.filter((one) => one !== pane);
    this.active = this.panes[0];
    this.#keep();
    this.render();
  }

  /** @param {Take} parent @param {{id: string, token: string}} ticket */
  #forked(parent, ticket) {
    if (this.panes.length > 1) this.#shut(this.panes[1]);
    const pane = this.#open();
    this.#new(pane).resume({ ...ticket, past: parent.script.past.map((change) => ({ ...change })) });
    say("state", "Forked: the same past, from here on another take.");
    this.#choose(pane);
  }

  /** Go on with a stored take. @param {{id: string, token: string, last?: number | null}} ticket */
  goOn(ticket) {
    this.#only();
    this.#new(this.active).resume({ ...ticket });
    this.render();
  }

  /** @param {string} id */
  watch(id) {
    this.#only();
    this.#new(this.active).watch(id);
    this.render();
  }

  #only() {
    for (const pane of this.panes.slice(1)) this.#shut(pane);
  }

  /** What this window directed before it was loaded again. */
  comeBack() {
    const saved = JSON.parse(sessionStorage.getItem(SAVED) ?? "[]");
    saved.forEach((/** @type {any} */ one, /** @type {number} */ index) => {
      this.#new(index === 0 ? this.active : this.#open()).resume(one);
    });
    if (saved.length > 0) say("state", "Coming back to the take.");
    this.render();
    return saved.length > 0;
  }

  #keep() {
    const saved = this.panes.map((pane) => pane.take?.saved() ?? null).filter((one) => one !== null);
    if (saved.length > 0) sessionStorage.setItem(SAVED, JSON.stringify(saved));
    else sessionStorage.removeItem(SAVED);
  }

  /** The past of a take that this page did not see from its beginning. @param {Take} take */
  async #remember(take) {
    try {
      const { prompts } = await askJson(`v1/sessions/${take.id}/timeline`);
      const known = new Set(take.script.cues.map((cue) => cue.id));
      take.script.past = prompts.map((/** @type {any} */ one, /** @type {number} */ index) => (
        { ...one, id: one.event_id || `stored-${index}`, planned: false })).filter((/** @type {any} */ one) => !known.has(one.id));
      this.render();
    } catch {
      // Without it the timeline begins where this page came in.
    }
  }

  // Directing

  /** Begin a take, or change the one that runs. @param {string} text */
  async direct(text) {
    alertUser("");
    const prompts = this.#blended(text);
    if (prompts === null) return false;
    const mode = /** @type {import("./script.js").Mode} */ (this.#mode());
    const transition = mode === "cut" ? 0 : Number(input("transition").value); // a cut has nothing to fade from
    const { take } = this;
    if (take !== null && take.live) {
      if (!take.directs) return false;
      const at = this.strip.chosen;
      const planned = at !== null && at > take.position;
      take.change({ at: planned ? at : take.position, prompts, mode, transition }, planned);
      this.strip.choose(null);
      return true;
    }
    if (this.#beginning) return false;
    this.#beginning = true;
    try {
      return await this.#begin(prompts);
    } finally {
      this.#beginning = false;
    }
  }

  /** @param {import("./script.js").Weighted[]} prompts */
  async #begin(prompts) {
    const refusal = this.setup.refusal();
    if (refusal !== "") {
      this.setup.lookAt();
      return this.#refuse(refusal);
    }
    let options;
    try {
      options = await this.setup.options();
    } catch (error) {
      return this.#refuse(explain(/** @type {any} */ (error)));
    }
    const take = this.#new(this.active);
    const planned = this.waiting.filter((change) => change.at > 0);
    this.waiting = [];
    take.start(prompts, options);
    for (const change of planned) take.script.add({ ...change, id: take.freshId() });
    this.strip.choose(null);
    this.render();
    return true;
  }

  /** @param {string} words */
  #refuse(words) {
    alertUser(words);
    return false;
  }

  /** @param {string} text */
  #blended(text) {
    const second = input("blend").checked ? input("second").value.trim() : "";
    if (text.trim() === "" || (input("blend").checked && second === "")) {
      alertUser(text.trim() === "" ? "The prompt is empty. Write what is to be seen." : "The second prompt is empty.");
      return null;
    }
    const share = Number(input("weight").value) / 100;
    if (second === "") return [{ text: text.trim(), weight: 1 }];
    return [{ text: text.trim(), weight: 1 - share }, { text: second, weight: share }];
  }

  #mode() {
    const chosen = /** @type {HTMLInputElement | null} */ (document.querySelector("input[name=mode]:checked"));
    return chosen?.value ?? "recache";
  }

  /** Take a planned prompt back into the box. @param {string} id */
  #edit(id) {
    const cue = this.take?.script.find(id);
    if (!cue) return;
    this.prompt.value = cue.prompts[0].text;
    this.take?.script.remove(id);
    this.strip.choose(cue.at);
    this.prompt.focus();
  }

  /** @param {number | null} seconds */
  #chosen(seconds) {
    const behind = seconds !== null && this.take !== null && seconds < this.take.position;
    button("retake").hidden = !behind || this.take?.directs !== true;
    if (seconds !== null) say("retake", `Take again from ${timecode(seconds)}`);
    this.render();
  }

  // The page

  #listen() {
    const form = element("form", HTMLFormElement);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!(await this.direct(this.prompt.value))) return;
      this.prompt.value = "";
      this.prompt.focus();
    });
    this.prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    button("pause").addEventListener("click", () => this.take?.togglePause());
    button("stop").addEventListener("click", () => this.take?.stop());
    button("fork").addEventListener("click", () => this.take?.fork(this.strip.chosen));
    button("save").addEventListener("click", async () => (await keeping()).saveRecording(this));
    button("share").addEventListener("click", async () => (await keeping()).share(this));
    button("retake").addEventListener("click", () => {
      if (this.strip.chosen !== null) this.take?.rewind(this.strip.chosen, false);
      this.strip.choose(null);
    });
    button("script-out").addEventListener("click", async () => (await keeping()).exportScript(this));
    input("script-in").addEventListener("change", async () => {
      await (await keeping()).importScript(this, input("script-in").files?.[0]);
      input("script-in").value = "";
    });
    form.addEventListener("input", () => this.#how());
  }

  #how() {
    say("mode-hint", MODE_HINTS[this.#mode()]);
    const cut = this.#mode() === "cut";
    input("transition").disabled = cut;
    const blocks = cut ? 0 : Number(input("transition").value);
    const seconds = blocks * (this.take?.blockSeconds ?? 0.75);
    say("transition-words", blocks === 0 ? "at once" : `over ${seconds.toFixed(1)} s`);
    element("blend-line").hidden = !input("blend").checked;
    say("weight-words", `${input("weight").value}%`);
  }

  /** What moves by itself. */
  #live() {
    const { take } = this;
    const waiting = take === null || !take.live ? this.waiting.map((one, index) => ({ ...one, id: `waiting-${index}`, sent: true })) : [];
    this.strip.render({
      position: take?.position ?? 0, made: take?.madeUntil ?? 0, past: take?.script.past ?? [],
      cues: waiting.length > 0 ? waiting : take?.script.cues ?? [], block: take?.blockSeconds ?? 0.75, directs: take?.directs === true,
    });
    for (const pane of this.panes) pane.render({ active: pane === this.active, alone: this.panes.length === 1, hint: HINT });
    this.figures.render(take, performance.now());
    if (take?.ladder.narrow) this.setup.noteNarrow();
  }

  /** Bring buttons and words in line with the take. */
  render() {
    if (!this.strip) return;
    const { take } = this;
    const live = take !== null && take.live;
    const directs = take?.directs === true;
    element("panes").dataset.count = `${this.panes.length}`;
    const at = this.strip.chosen;
    const planned = live && at !== null && at > take.position;
    say("send", live ? (planned ? "Plan" : "Change") : "Action");
    say("prompt-label", !live ? "What does the take begin with?" : planned ? `What happens at ${timecode(at)}?` : "What happens next?");
    button("send").disabled = live && !directs;
    button("stop").disabled = !live || take.state === "stopping";
    button("pause").disabled = !directs || take.pausing;
    button("fork").disabled = !directs;
    button("save").disabled = !take?.id || this.saving || take.madeUntil === 0;
    button("share").disabled = !take?.id || !live;
    say("pause-word", live && take.paused ? "Resume" : "Pause");
    element("pause-icon").setAttribute("href", live && take.paused ? "#i-play" : "#i-pause");
    if (take?.offered && take.role === "viewer") this.#offer(take);
    if (take !== null && take !== undefined) this.#words(take);
  }

  /** @param {Take} take */
  #offer(take) {
    take.offered = false;
    showDialog("Direct this take", make("p", { text: "The director offers to hand this take over." }),
      make("button", { type: "button", class: "main", text: "Take direction", onclick: () => {
        take.direct("take");
        element("dialog", HTMLDialogElement).close();
      } }));
  }

  #told = "";

  /** @param {Take} take */
  #words(take) {
    const words = stateOf(take);
    const told = `${take.id} ${words}`;
    if (told === this.#told) return;
    this.#told = told;
    say("state", words);
  }
}

/** @param {Take} take */
function stateOf(take) {
  if (take.state === "ended") return take.ending || "The take has ended. Write a prompt to start another.";
  if (take.returning) return "The connection is lost. Coming back.";
  if (take.restarting) return "The engine is being started again.";
  if (take.state === "waiting") return take.place;
  if (take.state === "stopping") return "Stopping.";
  if (take.state === "connecting") return "Connecting.";
  if (take.state === "starting") return "Making the first frames.";
  if (take.paused) return "Paused.";
  return take.role === "viewer" ? "You watch this take." : "Running.";
}
