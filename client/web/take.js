// One take, second half: what each message of the server changes.
//
// Knows the messages that come; nothing of documents, which it tells through its hooks. Invariants: each chunk is shown
// at most once; prompts without an answer are sent again after a lost connection; a take ends once, and says why.

import { Asking, FIRST } from "./asking.js";
import { clock } from "./clock.js";
import { advice, draining, explain, waiting } from "./words.js";

const DRAINED = "The server has shut down, and ended the take. Start a new one when it is back.";
const KEPT_TIMES = 512;

export class Take extends Asking {
  /** @param {boolean} again */
  opened(again) {
    if (again && this.role === "director") this.link.send(this.link.comeback.hello(this.order.last));
    else this.link.send(this.hello);
    if (!again) this.state = "starting";
    this.hooks.changed();
  }

  away() {
    this.returning = true;
    this.hooks.alert("The connection was lost. Coming back to the take.");
    this.hooks.changed();
  }

  /** @param {string} reason @param {boolean} began */
  lost(reason, began) {
    if (this.state === "stopping") this.end("");
    else if (!began) this.fail("The server cannot be reached. Is it running?");
    else this.fail(`The connection was lost${reason ? ` (${reason})` : ""}. Press Action to begin a new take.`);
  }

  /** @param {any} message */
  handle(message) {
    const now = clock();
    const id = message.event_id;
    if (message.type.startsWith("session.interaction.") || message.type === "error") this.unanswered.delete(id);
    /** @type {Record<string, () => void>} */
    const handlers = {
      "session.queued": () => { this.state = "waiting"; this.place = waiting(message); },
      "video.start": () => this.begin(message),
      "media.init": () => this.init(message),
      "video.discard": () => this.takeBack(message),
      "session.resumed": () => this.resumed(message),
      "session.worker_restarting": () => {
        this.restarting = true;
        this.hooks.alert("The engine is being started again. The take then goes on where it was.");
      },
      "session.control.applied": () => this.controlled(message),
      "session.forked": () => this.hooks.forked({ id: message.session_id, token: message.resume_token }),
      "session.direction": () => this.direction(message),
      "session.stats": () => this.measured(message),
      "session.draining": () => this.hooks.alert(draining(message)),
      "session.interaction.queued": () => this.book.queued(id, now),
      "session.interaction.applied": () => this.book.applied(id, message.sequence, now),
      "session.interaction.superseded": () => this.dropped(id, "a newer prompt took its place"),
      "session.interaction.rejected": () => this.refused(message),
      "session.warning": () => {
        this.book.noted(id, advice(message));
        this.hooks.tell(advice(message));
      },
      "session.done": () => this.end(message.reason === "drained" ? DRAINED : ""),
      "error": () => this.error(message),
    };
    handlers[message.type]?.();
    this.hooks.changed();
  }

  /** @param {any} message */
  begin(message) {
    this.link.comeback.note(message);
    this.place = "";
    const first = this.info === null;
    this.info = message;
    this.id = message.session_id;
    this.role = message.role ?? "director";
    if (this.state !== "stopping") this.state = "running";
    if (!first) return; // come back
    this.book.queued(FIRST, clock());
    if (this.order.last === null) this.order.begin(message.next_sequence > 0 ? message.next_sequence - 1 : null);
    this.showing.open(message.format);
    if (this.role === "viewer" || message.next_sequence > 0) this.hooks.strange();
    this.keep();
  }

  /** @param {any} message */
  init({ width, height, codec, init }) {
    this.showing.begin({ fps: this.info.fps, block: this.blockSeconds, width, height, codec, init });
  }

  /** @param {any} message */
  resumed(message) {
    this.link.comeback.note(message);
    if (message.missing) this.order.lost(message.missing.to_sequence);
    if (message.cause === "connection") {
      this.link.comeback.back();
      this.pausing = this.returning = false;
      this.link.send({ type: "session.ping" }); // by which the server knows that the token is here
      for (const prompt of this.unanswered.values()) this.link.send(prompt);
      if (this.state === "stopping") this.link.send({ type: "session.stop" });
    } else {
      this.restarting = false;
    }
    this.hooks.alert("");
    this.showing.hold();
    this.hooks.tell("The take goes on.");
    this.keep();
  }

  /** @param {any} message */
  direction({ role, offered, resume_token: token }) {
    this.role = role;
    this.offered = offered;
    if (token) this.link.comeback.note({ resume_token: token });
    else if (role === "viewer") this.link.comeback.token = null;
    this.hooks.tell(role === "director" ? "You direct this take." : offered ? "You may take direction." : "You watch this take.");
    this.keep();
  }

  /** @param {any} stats */
  measured(stats) {
    this.stats = stats;
    const quality = this.ladder.look({ lead: stats.lead_seconds, ahead: this.facts?.ahead ?? 0 });
    if (quality !== null && this.info.format === "jpeg" && this.directs && !this.paused) {
      this.control({ action: "quality", quality });
    }
  }

  /** @param {any} message */
  takeBack({ from_sequence: from, next_sequence: next, reason }) {
    this.order.takeBack(from, next);
    this.book.takeBack(from);
    const pts = this.times.get(from) ?? null;
    if (pts !== null) this.madeUntil = Math.min(this.madeUntil, pts);
    this.showing.takeBack(from, pts);
    if (reason === "pause") this.showing.hold();
  }

  /** @param {any} message */
  controlled({ action, block }) {
    if (action === "rewind") {
      const at = this.secondsOf(block);
      this.script.rewound(at, () => this.freshId());
      this.madeUntil = Math.min(this.madeUntil, at);
      this.showing.hold();
      this.hooks.tell("Another turn of the take.");
    }
    if (action === "pause" || action === "resume") {
      this.pausing = false;
      this.paused = action === "pause";
      this.showing.hold();
      this.hooks.tell(this.paused ? "Paused." : "The take goes on.");
    }
    this.keep();
  }

  /** Where a block begins; exact while no cut shortened one. @param {number} block */
  secondsOf(block) {
    if (block === 0) return 0;
    return (this.info.first_block_frames + (block - 1) * this.info.frames_per_block) / this.info.fps;
  }

  /** @param {string} id @param {string} why */
  dropped(id, why) {
    this.book.failed(id, why);
    this.script.remove(id);
  }

  /** @param {any} error */
  refused(error) {
    const id = error.event_id;
    if (id?.startsWith("control-")) this.pausing = false;
    const words = explain({ ...error, fatal: false });
    if (id !== undefined) this.dropped(id, `refused: ${words}`);
    this.hooks.alert(words);
    if (this.state === "starting" || this.state === "waiting") this.fail(words);
  }

  /** @param {any} error */
  error(error) {
    const away = this.link.away;
    if (away && error.fatal && error.retryable) return; // its socket closes, and the next may do
    if (away && this.link.comeback.isRefused(error)) this.fail(explain({ ...error, fatal: true }));
    else if (error.fatal) this.fail(explain(error));
    else this.refused(error);
  }

  /** @param {import("./wire.js").Metadata} metadata @param {ArrayBuffer} bytes */
  media(metadata, bytes) {
    if (!this.order.accept(metadata.sequence)) return;
    const now = clock();
    this.firstFrame ??= now - this.startedAt;
    this.bytes += bytes.byteLength;
    const ids = [...(metadata.started_event_ids ?? []), ...(metadata.event_ids ?? [])];
    if (this.script.past.length === 0) ids.push(FIRST);
    this.book.received({ ...metadata, event_ids: ids }, now);
    this.script.reached(metadata.pts, ids);
    this.madeUntil = metadata.pts + metadata.num_frames / metadata.fps;
    this.times.set(metadata.sequence, metadata.pts);
    if (this.times.size > KEPT_TIMES) this.times.delete(this.times.keys().next().value ?? -1);
    if (this.role === "viewer" && (metadata.started_event_ids ?? []).length > 0) this.hooks.strange();
    this.showing.push(metadata, bytes);
    this.sendDue();
    this.hooks.changed();
  }

  /** A chunk is on screen. @param {number} sequence @param {number} at */
  seen(sequence, at) {
    for (const entry of this.book.shown(sequence, at)) {
      if (entry.id !== FIRST && entry.planned === null) this.latency = at - entry.sent;
    }
    this.keep();
    this.hooks.changed();
  }

  keep() {
    this.hooks.keep(this.saved());
  }

  /** @param {string} words */
  fail(words) {
    if (this.state === "ended") return;
    this.hooks.alert(words);
    this.end("");
  }

  /** @param {string} words */
  end(words) {
    if (words === DRAINED) this.hooks.alert(words); // what it announced has happened
    this.state = "ended";
    this.returning = this.restarting = false;
    this.ending = words;
    this.book.end("the take ended before its block");
    this.link.close();
    this.hooks.keep(null);
    this.hooks.changed();
  }
}
