// A take as a script: prompts by their seconds, those that were seen and those that are to come; JSON out and in.
//
// Knows values only; nothing of documents or sockets. Invariants: the JSON has the shape that batch jobs take; a change
// is either in the past of the take or a cue; nothing that a rewind took back stays in the past.

/** @typedef {{text: string, weight: number}} Weighted */
/** @typedef {"recache" | "flush" | "cut" | "keep"} Mode */
/**
 * `planned`: it was given a time ahead, and is not said on the spot.
 * @typedef {{id: string, at: number, prompts: Weighted[], mode: Mode, transition: number, planned: boolean}} Change
 */
/** @typedef {Change & {sent: boolean}} Cue */

export const MODES = /** @type {Mode[]} */ (["recache", "flush", "cut", "keep"]);
const SOON = 1e-3; // seconds by which rounding may be off

/** What prompts say in one line. @param {Weighted[]} prompts */
export function wording(prompts) {
  if (prompts.length === 1) return prompts[0].text;
  const sum = prompts.reduce((all, one) => all + one.weight, 0) || 1;
  return prompts.map((one) => `${Math.round((one.weight / sum) * 100)}% ${one.text}`).join(" + ");
}

export class Script {
  /** @type {Change[]} */
  past = [];
  /** @type {Cue[]} */
  cues = [];

  /** A prompt that is to take effect; one that is not planned is on its way already. @param {Change} change */
  add(change) {
    this.cues.push({ ...change, sent: !change.planned });
    this.#sort();
  }

  /** @param {string} id */
  find(id) {
    return this.cues.find((cue) => cue.id === id) ?? null;
  }

  /** Another time for a cue that the server does not have yet. @param {string} id @param {number} at */
  move(id, at) {
    const cue = this.find(id);
    if (cue === null || cue.sent) return false;
    cue.at = Math.max(0, at);
    this.#sort();
    return true;
  }

  /** @param {string} id */
  remove(id) {
    this.cues = this.cues.filter((cue) => cue.id !== id);
  }

  /** Cues that are to be sent when the video is made up to here; they count as sent. @param {number} seconds */
  due(seconds) {
    const found = this.cues.filter((cue) => !cue.sent && cue.at <= seconds);
    for (const cue of found) cue.sent = true;
    return found;
  }

  /**
   * A chunk came that begins at `pts` under these prompts: what lies behind it, and what began with it.
   * @param {number} pts
   * @param {string[]} ids
   */
  reached(pts, ids) {
    const gone = this.past.filter((change) => change.at > pts + SOON
      || (change.at > pts - SOON && change.at > SOON && !ids.includes(change.id)));
    if (gone.length > 0) this.#undo(gone);
    for (const id of ids) {
      const cue = this.find(id);
      if (cue === null) continue;
      this.remove(id);
      const { prompts, mode, transition, planned } = cue;
      this.past.push({ id, at: pts, prompts, mode, transition, planned });
    }
  }

  /** Taken back before they were seen: the server has them still. @param {Change[]} gone */
  #undo(gone) {
    this.past = this.past.filter((change) => !gone.includes(change));
    for (const change of gone) this.cues.push({ ...change, sent: true });
    this.#sort();
  }

  /**
   * A rewind to here: prompts from there on are dropped; what was planned is planned again, under another id.
   * @param {number} seconds
   * @param {() => string} freshId
   */
  rewound(seconds, freshId) {
    const gone = this.past.filter((change) => change.at > seconds - SOON && change.at > SOON);
    this.past = this.past.filter((change) => !gone.includes(change));
    for (const change of gone.filter((one) => one.planned)) this.add({ ...change, id: freshId() });
  }

  /** The prompts on screen at a second. @param {number} seconds */
  at(seconds) {
    return this.past.filter((change) => change.at <= seconds + SOON).at(-1) ?? this.past[0] ?? null;
  }

  #sort() {
    this.cues.sort((one, other) => one.at - other.at);
  }
}

/**
 * The document of a script.
 * @param {Change[]} changes
 * @param {{model?: string, size?: string, seed?: number, seconds?: number}} facts
 */
export function toJson(changes, facts) {
  const prompts = [...changes].sort((one, other) => one.at - other.at).map(({ at, prompts, mode, transition }) => ({
    at: Math.round(at * 1e4) / 1e4, prompts, mode, transition,
  }));
  return `${JSON.stringify({ longtake: 1, ...facts, prompts }, null, 2)}\n`;
}

/**
 * A document back to changes; an Error says what is wrong with it. Those of batch jobs are read too.
 * @param {string} text
 */
export function fromJson(text) {
  let read;
  try {
    read = JSON.parse(text);
  } catch {
    throw new Error("This file is no JSON.");
  }
  const prompts = Array.isArray(read) ? read : read?.prompts;
  if (!Array.isArray(prompts) || prompts.length === 0) throw new Error("This file has no list of prompts.");
  const changes = prompts.map((one, index) => readChange(one, index)).sort((one, other) => one.at - other.at);
  const seed = Number.isSafeInteger(read.seed) && read.seed >= 0 ? read.seed : null;
  return { changes, seed, seconds: Number(read.seconds) || null };
}

/** @param {any} one @param {number} index @returns {Change} */
function readChange(one, index) {
  const name = `Prompt ${index + 1}`;
  const at = Number(one?.at ?? 0);
  if (!Number.isFinite(at) || at < 0) throw new Error(`${name} has no second at which it begins.`);
  const prompts = Array.isArray(one?.prompts) ? one.prompts : [{ text: one?.prompt, weight: 1 }];
  for (const part of prompts) {
    if (typeof part?.text !== "string" || part.text.trim() === "") throw new Error(`${name} says nothing.`);
    if (!Number.isFinite(part.weight ?? 1) || (part.weight ?? 1) < 0) throw new Error(`${name} has a wrong weight.`);
  }
  const mode = one.mode ?? "recache";
  if (!MODES.includes(mode)) throw new Error(`${name} has the unknown mode ${mode}.`);
  const blocks = Math.min(64, Math.max(0, Math.round(Number(one.transition ?? 0)) || 0));
  const transition = mode === "cut" ? 0 : blocks; // a cut has nothing to fade from
  const read = prompts.map((/** @type {any} */ part) => ({ text: part.text, weight: part.weight ?? 1 }));
  return { id: "", at, prompts: read, mode, transition, planned: true };
}
