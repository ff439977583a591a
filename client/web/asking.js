// One take, first half: its state, and what is asked of the server for it.
//
// Knows the messages that are sent, a link and a screen; take.js knows those that come. Invariant: what was asked and
// not answered is remembered, so that it can be asked again over another connection.

import { SwitchBook } from "./book.js";
import { Ladder } from "./ladder.js";
import { Link } from "./link.js";
import { clock } from "./clock.js";
import { Script, wording } from "./script.js";
import { Showing } from "./showing.js";
import { SequenceCheck } from "./wire.js";

/** @typedef {import("./script.js").Weighted} Weighted */
/** @typedef {import("./script.js").Change} Change */
/** @typedef {"connecting" | "waiting" | "starting" | "running" | "stopping" | "ended"} State */
/**
 * @typedef {{screen: (format: string, tell: (fact: any) => void) => Promise<import("./screen.js").Screen>,
 *   changed: () => void, alert: (words: string) => void, tell: (words: string) => void,
 *   forked: (ticket: {id: string, token: string}) => void, keep: (saved: object | null) => void,
 *   strange: () => void}} Hooks
 */

export const FIRST = "prompt-0"; // the prompt that a take begins with

export class Asking {
  /** @type {State} */
  state = "connecting";
  role = "director";
  offered = false;
  paused = false;
  pausing = false; // the server was asked, and has not answered
  returning = false;
  restarting = false;
  place = "";
  ending = "";
  /** @type {string | null} */
  id = null;
  /** @type {any} */
  info = null;
  /** @type {any} */
  stats = null;
  /** @type {number | null} */
  firstFrame = null;
  /** @type {number | null} */
  latency = null;
  madeUntil = 0;
  bytes = 0;
  script = new Script();
  book = new SwitchBook();
  order = new SequenceCheck();
  ladder = new Ladder();
  counter = 0;
  startedAt = 0;
  /** @type {Map<string, object>} */
  unanswered = new Map();
  /** @type {Map<number, number>} */
  times = new Map();
  /** @type {any} */
  hello = null;

  /** @param {Hooks} hooks */
  constructor(hooks) {
    this.hooks = hooks;
    this.showing = new Showing({
      make: hooks.screen, failed: (words) => this.fail(words), seen: (sequence, at) => this.seen(sequence, at),
    });
    this.link = new Link({
      opened: (again) => this.opened(again),
      message: (message) => this.handle(message),
      media: (metadata, bytes) => this.media(metadata, bytes),
      broken: (words) => this.fail(words),
      returning: () => this.away(),
      lost: (reason, began) => this.lost(reason, began),
    });
  }

  get live() {
    return this.state !== "ended";
  }

  get directs() {
    return this.state === "running" && (this.role === "director" || this.info?.shared_direction === true);
  }

  /** Seconds of the video that are on screen now. */
  get position() {
    return this.showing.position(this.live);
  }

  get facts() {
    return this.showing.facts;
  }

  get blockSeconds() {
    return this.info === null ? 0.75 : this.info.frames_per_block / this.info.fps;
  }

  /** Begin anew. @param {Weighted[]} prompts @param {object} options fields of `session.start` */
  start(prompts, options) {
    this.hello = { type: "session.start", event_id: FIRST, ...asked(prompts), ...options };
    this.startedAt = clock();
    this.book.sent(FIRST, wording(prompts), this.startedAt);
    this.script.add({ id: FIRST, at: 0, prompts, mode: "recache", transition: 0, planned: false });
    this.link.connect();
  }

  /** Go on with a take: one of before a reload, a stored one or a fork. @param {any} saved */
  resume(saved) {
    this.link.comeback.note({ session_id: saved.id, resume_token: saved.token });
    this.id = saved.id;
    this.script.past = saved.past ?? [];
    this.script.cues = saved.cues ?? [];
    this.counter = saved.counter ?? 1000;
    this.order.begin(saved.last ?? null);
    this.startedAt = clock();
    this.hello = this.link.comeback.hello(this.order.last);
    this.link.connect();
  }

  /** Watch what somebody else directs. @param {string} id */
  watch(id) {
    this.role = "viewer";
    this.id = id;
    this.startedAt = clock();
    this.hello = { type: "session.join", session_id: id };
    this.link.connect();
  }

  /** What another page needs to go on with this. */
  saved() {
    const { session, token } = this.link.comeback;
    if (token === null || this.role !== "director" || !this.live) return null;
    const { past, cues } = this.script;
    return { id: session, token, last: this.showing.shown < 0 ? null : this.showing.shown, past, cues, counter: this.counter };
  }

  freshId() {
    this.counter += 1;
    return `prompt-${this.counter}`;
  }

  /** Another prompt: at once, or planned for a second. @param {Omit<Change, "id" | "planned">} change @param {boolean} planned */
  change(change, planned) {
    const whole = { ...change, id: this.freshId(), planned };
    this.script.add(whole);
    if (planned) this.sendDue();
    else this.say(whole, null);
    this.hooks.changed();
  }

  /** @param {Change} change @param {number | null} at */
  say({ id, prompts, mode, transition }, at) {
    this.book.sent(id, wording(prompts), clock(), at);
    const place = at === null ? {} : { at };
    const message = {
      type: "session.interaction", event_id: id, ...asked(prompts), mode, transition_chunks: transition, ...place,
    };
    this.unanswered.set(id, message);
    this.link.send(message);
  }

  sendDue() {
    if (this.state !== "running" || this.link.away || this.role !== "director") return;
    for (const cue of this.script.due(this.madeUntil + 2 * this.blockSeconds)) this.say(cue, cue.at);
  }

  togglePause() {
    if (!this.directs || this.pausing) return;
    this.pausing = true;
    this.control({ action: this.paused ? "resume" : "pause" });
    this.hooks.changed();
  }

  /** Make the video anew from the block on screen at this second. @param {number} seconds @param {boolean} sameNoise */
  rewind(seconds, sameNoise) {
    if (!this.directs) return;
    this.control({ action: "rewind", seconds: Math.max(0, seconds), same_noise: sameNoise });
    if (this.paused) this.togglePause();
  }

  /** Another take with the same beginning. @param {number | null} seconds */
  fork(seconds) {
    if (!this.directs) return;
    const place = seconds === null ? {} : { seconds: Math.max(0, seconds) };
    this.link.send({ type: "session.fork", event_id: `fork-${this.freshId()}`, ...place });
  }

  /** @param {"offer" | "take" | "release"} action */
  direct(action) {
    this.link.send({ type: "session.direct", action });
  }

  stop() {
    if (this.state === "running" || this.state === "starting" || this.state === "waiting") {
      this.state = "stopping";
      this.link.send({ type: "session.stop" });
      this.hooks.changed();
    } else if (this.state === "connecting") this.end("The take has ended.");
  }

  /** Let go of it: the page shows it no more. */
  close() {
    if (this.live) {
      this.link.send({ type: "session.stop" });
      this.end("");
    }
    this.showing.close();
  }

  /** Tell the server what is on screen, so that it makes the video just ahead of that; look at the link. */
  report() {
    if (this.state !== "running" || this.facts === null || this.link.away) return;
    this.link.send({
      type: "session.playback", position_seconds: this.position, buffered_seconds: this.showing.ahead(),
      dropped: this.facts.dropped,
    });
  }

  /** @param {object} control */
  control(control) {
    this.link.send({ type: "session.control", event_id: `control-${this.freshId()}`, ...control });
  }

  // What comes of it: take.js says.

  /** @param {boolean} _again */
  opened(_again) {}

  away() {}

  /** @param {string} _reason @param {boolean} _began */
  lost(_reason, _began) {}

  /** @param {any} _message */
  handle(_message) {}

  /** @param {import("./wire.js").Metadata} _metadata @param {ArrayBuffer} _bytes */
  media(_metadata, _bytes) {}

  /** @param {number} _sequence @param {number} _at */
  seen(_sequence, _at) {}

  /** @param {string} _words */
  fail(_words) {}

  /** @param {string} _words */
  end(_words) {}
}

/** Prompts as messages have them. @param {Weighted[]} prompts */
export function asked(prompts) {
  return prompts.length === 1 ? { prompt: prompts[0].text } : { prompts };
}
