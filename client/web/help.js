// What the help says: the idea, and the keys.
//
// Knows the dialog. Invariant: every key that does something is listed.

import { keysAreOn, make, showDialog, turnKeys } from "./dom.js";

const HELP = [
  ["Enter", "in the prompt box: send it"], ["/", "to the prompt box"], ["Space", "pause and resume"], ["F", "full screen"],
  ["← →", "on the timeline: choose a moment"], ["Enter", "on the timeline: take again from there, or plan for then"],
  ["← → Delete", "on a planned prompt: move it, drop it"], ["+ −", "on the timeline: look closer, look wider"], ["Esc", "back to the picture"],
];

/** Show it. */
export function help() {
  const keys = make("dl", { class: "keys" }, ...HELP.flatMap(([key, words]) => [
    make("dt", {}, make("kbd", { text: key })), make("dd", { text: words }),
  ]));
  const box = make("input", { id: "keys", type: "checkbox", onchange: () => turnKeys(box.checked) });
  box.checked = keysAreOn();
  showDialog("Help", make("p", { text: "A take is one shot without a cut, made while you watch. The first prompt starts it;"
    + " each further prompt changes where it goes. Drag the playhead back to take another turn, or click ahead of it to plan a prompt." }),
  keys, make("label", { class: "check" }, box, " Single keys (/, Space, F) are on"));
}
