// Small helpers for elements.
//
// Knows the document and nothing else. Invariant: text is set as text, never as markup.

/** An element that is in the page. @template {HTMLElement} T @param {string} id @param {new () => T} [kind] @returns {T} */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (found === null || (kind && !(found instanceof kind))) throw new Error(`there is no element ${id} as expected`);
  return /** @type {T} */ (found);
}

export const input = (/** @type {string} */ id) => element(id, HTMLInputElement);
export const button = (/** @type {string} */ id) => element(id, HTMLButtonElement);

/** @param {string} id @param {string} text only where it differs, so that nothing is read out twice */
export function say(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

/**
 * A new element. @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | boolean | number | ((event: Event) => void) | undefined>} facts attributes, `text`, and `on...`
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, facts = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = `${value}`;
    else made.setAttribute(name, value === true ? "" : `${value}`);
  }
  made.append(...children);
  return made;
}

/** One of the pictures that the page has for its buttons; it says nothing to ears. @param {string} name */
export function icon(name) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  picture.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  picture.append(use);
  return picture;
}

/** A field with its label. @param {string} label @param {HTMLElement} control @param {string} kind */
export function field(label, control, kind = "field") {
  return make("div", { class: kind }, make("label", { for: control.id, text: label }), control);
}

/** Show the dialog. @param {string} title @param {(Node | string)[]} body @returns {HTMLDialogElement} */
export function showDialog(title, ...body) {
  const dialog = element("dialog", HTMLDialogElement);
  say("dialog-title", title);
  element("dialog-body").replaceChildren(...body);
  if (!dialog.open) dialog.showModal();
  return dialog;
}

/** Words that have to be noticed; none take them away. @param {string} words */
export function alertUser(words) {
  say("alert-words", words);
  element("alert").hidden = words === "";
}

const KEYS = "longtake.keys";

/** Whether single keys do something, as a person chose. */
export const keysAreOn = () => localStorage.getItem(KEYS) !== "off";

/** @param {boolean} on */
export const turnKeys = (on) => localStorage.setItem(KEYS, on ? "" : "off");

/** Copy, also where a page over plain http has no clipboard. @param {HTMLInputElement} from */
export async function copy(from) {
  from.select();
  try {
    await navigator.clipboard.writeText(from.value);
  } catch {
    document.execCommand("copy");
  }
}
