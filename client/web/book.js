// How long prompts take: sent, queued, applied, received, shown.
//
// Knows ids and times; nothing of documents or sockets. Invariants: a figure that was not measured is null; a prompt
// that was taken back before anybody saw it is received with its next chunk.

import { duration, timecode } from "./words.js";

/**
 * @typedef {{id: string, prompt: string, sent: number, queued: number | null, applied: number | null,
 *   received: number | null, shown: number | null, sequence: number | null, failure: string | null,
 *   note: string | null, planned: number | null}} Entry
 */

/** Keeps the newest `most` prompts. */
export class SwitchBook {
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  #most;

  constructor(most = 100) {
    this.#most = most;
  }

  get all() {
    return [...this.#entries.values()];
  }

  /**
   * @param {string} id
   * @param {string} prompt
   * @param {number} now
   * @param {number | null} planned the second of the video that it is meant for
   */
  sent(id, prompt, now, planned = null) {
    const nothing = { queued: null, applied: null, received: null, shown: null, sequence: null, failure: null };
    this.#entries.set(id, { id, prompt, sent: now, ...nothing, note: null, planned });
    if (this.#entries.size > this.#most) this.#entries.delete(this.#entries.keys().next().value ?? "");
  }

  /**
   * @param {string} id
   * @param {number} now
   */
  queued(id, now) {
    const entry = this.#entries.get(id);
    if (entry) entry.queued ??= now;
  }

  /**
   * @param {string} id
   * @param {number} sequence the first chunk under it
   * @param {number} now
   */
  applied(id, sequence, now) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.applied ??= now;
    entry.sequence ??= sequence;
  }

  /**
   * A chunk is here: prompts whose first chunk it is are received.
   * @param {{sequence: number, event_ids?: string[], started_event_ids?: string[]}} metadata
   * @param {number} now
   */
  received(metadata, now) {
    for (const id of [...(metadata.started_event_ids ?? []), ...(metadata.event_ids ?? [])]) {
      const entry = this.#entries.get(id);
      if (!entry) continue;
      entry.received ??= now;
      entry.sequence ??= metadata.sequence;
    }
  }

  /** @param {number} fromSequence chunks from here on are taken back */
  takeBack(fromSequence) {
    for (const entry of this.all) {
      if (entry.shown !== null || entry.sequence === null || entry.sequence < fromSequence) continue;
      entry.received = entry.sequence = null;
    }
  }

  /**
   * A frame of chunk `sequence` is on screen; returns the prompts that are seen with it for the first time.
   * @param {number} sequence
   * @param {number} now
   */
  shown(sequence, now) {
    const seen = this.all.filter(
      (entry) => entry.received !== null && entry.shown === null && (entry.sequence ?? Infinity) <= sequence,
    );
    for (const entry of seen) entry.shown = now;
    return seen;
  }

  /**
   * @param {string} id
   * @param {string} failure
   */
  failed(id, failure) {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.received !== null) return false;
    entry.failure ??= failure;
    return true;
  }

  /**
   * Something to be said of a prompt that goes on all the same, as that words of it are not known.
   * @param {string | undefined} id
   * @param {string} words
   */
  noted(id, words) {
    const entry = id === undefined ? this.all.at(-1) : this.#entries.get(id);
    if (entry) entry.note = words;
  }

  /** The take is over: what was not received will not be. @param {string} failure */
  end(failure) {
    for (const entry of this.all) if (entry.failure === null) this.failed(entry.id, failure);
  }
}

/** One line on how a prompt is getting on. @param {Entry} entry */
export function progress(entry) {
  if (entry.failure !== null) return entry.failure;
  /** @param {number} time */
  const since = (time) => duration(time - entry.sent);
  if (entry.planned !== null) return `planned for ${timecode(entry.planned)}${entry.shown === null ? "" : ", seen"}`;
  if (entry.shown !== null && entry.received !== null) {
    return `on screen after ${since(entry.shown)} (here after ${since(entry.received)})`;
  }
  if (entry.received !== null) return `here after ${since(entry.received)}, about to be shown`;
  if (entry.queued !== null) return "accepted, waiting for its block";
  return "sent";
}
