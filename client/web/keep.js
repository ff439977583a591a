// What outlives a take: its recording, a link for viewers, its prompts as a script.
//
// Knows the dialog, files and the studio's take; nothing of the wire. Invariant: nothing here changes a take but a script
// that is read, whose prompts are planned.

import { blobUrl, save } from "./api.js";
import { alertUser, copy, element, input, make, say, showDialog } from "./dom.js";
import { fromJson, toJson, wording } from "./script.js";
import { explain } from "./words.js";

/** @typedef {import("./studio.js").Studio} Studio */

/** Have the server make the film of the take, and hand it over. @param {Studio} studio */
export async function saveRecording(studio) {
  const id = studio.take?.id;
  if (!id || studio.saving) return;
  studio.saving = true;
  say("state", "The server makes the recording.");
  studio.render();
  try {
    await download(id);
    say("state", "The recording is saved.");
  } catch (error) {
    alertUser(explain(/** @type {any} */ (error)));
  }
  studio.saving = false;
  studio.render();
}

/** @param {string} id */
export async function download(id) {
  const url = await blobUrl(`v1/sessions/${id}/recording`);
  make("a", { href: url, download: `longtake-${id.slice(0, 8)}.mp4` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** @param {Studio} studio */
export function share({ take }) {
  if (!take?.id) return;
  const url = new URL(location.href);
  url.search = "";
  url.hash = `watch/${take.id}`;
  const link = make("input", { id: "share-link", type: "text", readonly: true, value: url.href });
  const offer = make("button", { type: "button", text: "Let a viewer take direction", onclick: () => take.direct("offer") });
  const line = make("div", { class: "line" }, link,
    make("button", { type: "button", class: "main", text: "Copy", onclick: () => { copy(link); } }));
  showDialog("Share this take", make("label", { for: "share-link", text: "Whoever opens this link watches along" }), line,
    ...(take.directs && take.role === "director" ? [make("div", { class: "row" }, offer)] : []));
  link.select();
}

/** The prompts of the take, seen and planned, as a file. @param {Studio} studio */
export function exportScript({ take, waiting, setup }) {
  const changes = take === null ? waiting : [...take.script.past, ...take.script.cues];
  if (changes.length === 0) return alertUser("There is no prompt to export yet.");
  const facts = take?.info ?? { model: setup.model?.id };
  const size = facts.width ? `${facts.width}x${facts.height}` : element("size", HTMLSelectElement).value;
  const seconds = Math.max(take?.madeUntil ?? 0, ...changes.map((change) => change.at + 3));
  save(toJson(changes, { model: facts.model, size, seed: facts.seed, seconds }), "longtake-script.json");
}

/** Plan the prompts of a file: for the take that runs, or the next. @param {Studio} studio @param {File | undefined} file */
export async function importScript(studio, file) {
  if (file === undefined) return;
  try {
    const { changes, seed } = fromJson(await file.text());
    const { take } = studio;
    if (take !== null && take.live) {
      const ahead = changes.filter((change) => change.at > take.position);
      for (const change of ahead) take.change(change, true);
      say("state", `${ahead.length} of ${changes.length} prompts are planned; the others lie behind.`);
      return;
    }
    studio.waiting = changes;
    if (seed !== null) input("seed").value = `${seed}`;
    studio.prompt.value = wording(changes[0].prompts.slice(0, 1));
    say("state", `A script of ${changes.length} prompts is ready. Press Action.`);
    studio.render();
  } catch (error) {
    alertUser(/** @type {Error} */ (error).message);
  }
}
