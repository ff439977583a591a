// The page as a whole: which part of it is seen, the model, keys, help.
//
// Knows the document and its parts; what they do is their own. Invariants: parts that are seldom looked at are loaded
// when they are; single keys do nothing while somebody writes, and can be turned off.

import { askJson, setApiKey } from "./api.js";
import { alertUser, button, element, keysAreOn, make, say, showDialog } from "./dom.js";
import { Studio } from "./studio.js";
import { explain } from "./words.js";

const LOOK_AGAIN_MS = 2000;
const PARTS = ["studio", "takes", "batch"];

const studio = new Studio();
/** @type {{takes?: import("./takes.js").Takes, batch?: import("./batch.js").Batch}} */
const parts = {};

async function route() {
  const [name, id] = location.hash.slice(1).split("/");
  if (name === "watch" && id) studio.watch(decodeURIComponent(id));
  const part = PARTS.includes(name) ? name : "studio";
  for (const one of PARTS) {
    element(one).hidden = one !== part;
    if (one === part) element(`to-${one}`).setAttribute("aria-current", "page");
    else element(`to-${one}`).removeAttribute("aria-current");
  }
  document.title = part === "studio" ? "Longtake" : `${part === "takes" ? "Takes" : "Batch"} · Longtake`;
  if (part === "takes") {
    const { Takes } = await import("./takes.js");
    parts.takes ??= new Takes(element("takes"), studio);
    await parts.takes.show();
  } else if (part === "batch") {
    const { Batch } = await import("./batch.js");
    parts.batch ??= new Batch(element("batch"), studio);
    await parts.batch.show();
  }
}

async function findModel() {
  try {
    studio.setup.offer((await askJson("v1/models")).data);
  } catch (error) {
    const { status } = /** @type {any} */ (error);
    if (status === 401) return askForKey(explain(/** @type {any} */ (error)));
    if (studio.take === null) say("state", "The model is not ready yet. Looking again in two seconds.");
    setTimeout(findModel, LOOK_AGAIN_MS);
    return;
  }
  const { model } = studio.setup;
  if (model.prompt_characters) studio.prompt.maxLength = model.prompt_characters;
  suggest(model.suggested_prompts ?? []);
  if (studio.take === null) say("state", "Ready.");
}

/** @param {string} why */
function askForKey(why) {
  const key = make("input", { id: "key", type: "password", autocomplete: "off", required: true, autofocus: true });
  const form = make("form", { class: "line" }, key, make("button", { type: "submit", class: "main", text: "Use it" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setApiKey(key.value.trim());
    element("dialog", HTMLDialogElement).close();
    findModel();
  });
  say("state", "The service asks for a key.");
  showDialog("A key is needed", make("p", { text: why }), make("label", { for: "key", text: "Key, kept for this window only" }), form);
}

/** @param {string[]} prompts */
function suggest(prompts) {
  element("suggestions").replaceChildren(...prompts.map((text) => make("button", {
    type: "button", text, onclick: () => { studio.direct(text); },
  })));
  element("suggestions").hidden = prompts.length === 0;
}

/** @param {KeyboardEvent} event */
function shortcut(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (target.closest("input, textarea, select, button, a, summary, dialog, [role=slider]") || element("studio").hidden) return;
  if (!keysAreOn()) return;
  /** @type {Record<string, () => void>} */
  const keys = {
    "/": () => studio.prompt.focus(),
    " ": () => studio.take?.togglePause(),
    f: () => studio.active.fill(),
  };
  const act = keys[event.key.toLowerCase()];
  if (act === undefined) return;
  event.preventDefault();
  act();
}

button("help").addEventListener("click", async () => (await import("./help.js")).help());
button("alert-close").addEventListener("click", () => alertUser(""));
button("dialog-close").addEventListener("click", () => element("dialog", HTMLDialogElement).close());
element("dialog").addEventListener("close", () => element("dialog-body").replaceChildren());
document.addEventListener("keydown", shortcut);
window.addEventListener("hashchange", route);
if (new URLSearchParams(location.search).has("inside")) Object.assign(window, { studio }); // for tests
if (!location.hash.startsWith("#watch/")) studio.comeBack();
route();
findModel();
studio.prompt.focus();
