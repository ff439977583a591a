// What one sees of the machine: figures of the take that is directed, its prompts, and the chart.
//
// Knows elements and a take; changes nothing of it. Invariant: a figure that was not measured is a dash.

import { progress } from "./book.js";
import { Chart } from "./chart.js";
import { element, make, say } from "./dom.js";
import { wording } from "./script.js";
import { hueOf } from "./strip.js";
import { duration, figure, timecode } from "./words.js";

/** @typedef {import("./take.js").Take} Take */

const LOOK_MS = 500;

export class Figures {
  #chart = new Chart(element("chart", HTMLCanvasElement));
  /** @type {Take | null} */
  #take = null;
  #next = 0;
  #logged = "";

  /** @param {Take | null} take @param {number} now */
  render(take, now) {
    if (take !== this.#take) this.#chart.clear();
    this.#take = take;
    say("time", timecode(take?.position ?? 0));
    say("made", timecode(take?.madeUntil ?? 0));
    this.#log(take);
    if (now < this.#next) return;
    this.#next = now + LOOK_MS;
    const facts = take?.facts ?? null;
    const live = take !== null && take.live;
    const rate = facts === null || !live || take.paused ? null : facts.rate;
    say("first-frame", duration(take?.firstFrame));
    say("rate", figure(rate));
    say("latency", duration(take?.latency));
    say("lead", facts === null ? "–" : figure(live ? take?.showing.ahead() : 0, " s"));
    say("dropped", facts === null ? "–" : `${facts.dropped + (take?.stats?.frames_dropped ?? 0)}`);
    const lost = take !== null && take.order.missing > 0 ? `, ${take.order.missing} lost` : "";
    say("underruns", facts === null ? "–" : `${facts.underruns}${lost}`);
    say("carried", take === null || take.info === null ? "" : carried(take));
    if (live && facts !== null) this.#chart.add(rate, take.showing.ahead());
    this.#chart.draw(take?.info?.fps ?? 16);
  }

  /** The newest first; those from before a reload, too. @param {Take | null} take */
  #log(take) {
    const entries = take?.book.all ?? [];
    const known = new Set(entries.map((entry) => entry.id));
    const older = (take?.script.past ?? []).filter((change) => !known.has(change.id) && !known.has("prompt-0"));
    const hue = (/** @type {string} */ id) => hueOf(take?.script.past.findIndex((change) => change.id === id) ?? -1);
    const lines = [
      ...older.map((change) => [hue(change.id), wording(change.prompts), `at ${timecode(change.at)}`]),
      ...entries.map((entry) => [hue(entry.id), entry.prompt, progress(entry), ...(entry.note ? [entry.note] : [])]),
    ];
    const logged = lines.join("\n");
    if (logged === this.#logged) return;
    this.#logged = logged;
    element("log").replaceChildren(...lines.map(([kind, words, ...notes]) => (
      make("li", { class: kind }, words, ...notes.map((text) => make("span", { text }))))).reverse());
    element("log-empty").hidden = lines.length > 0;
  }
}

/** How the picture comes. @param {Take} take */
function carried(take) {
  const { info, stats } = take;
  const how = info.format === "m4s" ? "film (H.264)" : `${info.format.toUpperCase()}, quality ${take.ladder.quality}`;
  const viewers = stats?.viewers > 0 ? `, ${stats.viewers} watching` : "";
  return `Seed ${info.seed}, ${info.width} × ${info.height}, sent as ${how}${viewers}.`;
}
