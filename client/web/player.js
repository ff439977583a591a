// What the page knows without a page: chunks, their order, when a frame is due, and how long prompts took.
//
// Knows nothing of documents, sockets or pictures; every function is given the time, in milliseconds. Invariants:
// frames come out of the buffer in the order of their time stamps and each at most once; a figure that was not
// measured is null.

/** The socket's address for a page at `base`: next to it, so that a path prefix stays. */
export function socketUrl(base) {
  const url = new URL("v1/realtime/video", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

/** Cut a chunk's binary message into its frames; an Error says what does not fit. */
export function splitChunk(metadata, bytes) {
  const name = `chunk ${metadata.sequence}`;
  if (bytes.byteLength !== metadata.byte_length) {
    throw new Error(`${name}: expected ${metadata.byte_length} bytes, got ${bytes.byteLength}`);
  }
  let end = 0;
  const frames = metadata.frames.map((part) => {
    if (part.offset !== end) throw new Error(`${name}: expected a frame at byte ${end}, got one at ${part.offset}`);
    end += part.length;
    return { sequence: metadata.sequence, pts: part.pts, bytes: bytes.slice(part.offset, end) };
  });
  if (end !== bytes.byteLength) throw new Error(`${name}: expected frames of ${bytes.byteLength} bytes, got ${end}`);
  return frames;
}

/** Holds sequence numbers to "always one more", but for those that were taken back. */
export class SequenceCheck {
  expected = 0;
  missing = 0;
  duplicated = 0;
  last = null; // the newest chunk that is here
  #gone = []; // what was taken back of what had come: numbers from `from` on, before `until`

  /** Whether the chunk with this number is to be shown: not if it, or a later one, was here before. */
  accept(sequence) {
    if (sequence < this.expected) {
      this.duplicated += 1;
      return false;
    }
    this.#skipTo(sequence);
    this.expected = sequence + 1;
    this.last = sequence;
    return true;
  }

  /** Chunks from `from` on are taken back, here or not; the next one that comes is `next`. */
  takeBack(from, next) {
    this.#gone.push({ from, until: this.expected });
    if (this.#gone.length > 16) this.#gone.shift(); // only chunks that are still being decoded ask
    this.#skipTo(from);
    this.expected = Math.max(this.expected, next);
  }

  /** After a lost connection: chunks up to this one cannot be sent again. */
  lost(to) {
    this.#skipTo(to + 1);
  }

  #skipTo(sequence) {
    this.missing += Math.max(0, sequence - this.expected);
    this.expected = Math.max(this.expected, sequence);
  }

  isTakenBack(sequence) {
    return this.#gone.some(({ from, until }) => sequence >= from && sequence < until);
  }
}

/**
 * Frames that wait for their moment. The picture starts with the first block and goes on by the time stamps; it
 * holds when a block is late and goes on from there when it comes. When more than `most` seconds have piled up
 * (after a stall of the network), it jumps ahead to `target` seconds, so that prompts do not take longer for ever.
 */
export class JitterBuffer {
  underruns = 0;
  skipped = 0;
  #frames = [];
  #end = 0; // media seconds until which there are frames
  #excused = false;
  #anchor = null; // the frame with time stamp `pts` is due at `time`
  #tolerance;

  constructor({ fps, target = 0.75, most = 3 }) {
    this.frameSeconds = 1 / fps;
    this.target = target;
    this.most = most;
    this.#tolerance = 500 / fps; // half a frame late cannot be seen
  }

  get length() {
    return this.#frames.length;
  }

  /** Add a block's frames; returns those that are skipped, so that their pictures can be freed. */
  push(frames, now) {
    if (frames.length === 0) return [];
    const first = frames[0].pts;
    let passed = [];
    if (this.#anchor === null) {
      this.#anchor = { time: now, pts: first };
    } else if (first < this.#end - this.frameSeconds / 2) {
      // The video goes on from an earlier moment, as after a rewind: at once, and without what was to come.
      passed = this.#frames.splice(0);
      this.#anchor = { time: now, pts: first };
      this.#end = first;
    } else if (now > this.#due(first) + this.#tolerance) {
      this.underruns += this.#excused ? 0 : 1;
      this.#anchor = { time: now, pts: first };
    }
    this.#excused = false;
    this.#frames.push(...frames);
    this.#end = Math.max(this.#end, frames[frames.length - 1].pts + this.frameSeconds);
    return this.#buffered(now) > this.most ? this.#jump(now) : passed;
  }

  /** The frame that is due at `now`, or null if the one before stays; and those passed over to get there. */
  take(now) {
    let due = 0;
    while (due < this.#frames.length && this.#due(this.#frames[due].pts) <= now) due += 1;
    if (due === 0) return { frame: null, passed: [] };
    const passed = this.#frames.splice(0, due);
    return { frame: passed.pop(), passed };
  }

  /** Media seconds that are on screen at `now`. */
  position(now) {
    if (this.#anchor === null) return 0;
    return Math.max(0, Math.min(this.#end, this.#anchor.pts + (now - this.#anchor.time) / 1000));
  }

  /** Seconds that are here and not yet shown. */
  ahead(now) {
    return Math.max(0, this.#end - this.position(now));
  }

  /** After a pause the next block comes when it comes. */
  excuseNext() {
    this.#excused = true;
  }

  /** Frames of these chunks will not be shown; returns those that wait, so that their pictures can be freed. */
  takeBack(fromSequence) {
    const gone = this.#frames.filter((frame) => frame.sequence >= fromSequence);
    this.#frames = this.#frames.filter((frame) => frame.sequence < fromSequence);
    if (gone.length > 0) this.#end = Math.min(this.#end, gone[0].pts);
    return gone;
  }

  /** Take out everything that has not been shown. */
  clear() {
    return this.#frames.splice(0);
  }

  #due(pts) {
    return this.#anchor.time + (pts - this.#anchor.pts) * 1000;
  }

  #buffered(now) {
    const last = this.#frames[this.#frames.length - 1];
    return (this.#due(last.pts) - now) / 1000 + this.frameSeconds;
  }

  #jump(now) {
    const last = this.#frames[this.#frames.length - 1];
    const from = last.pts + this.frameSeconds - this.target;
    const kept = this.#frames.findIndex((frame) => frame.pts >= from - 1e-9);
    const skipped = this.#frames.splice(0, kept);
    this.skipped += skipped.length;
    this.#anchor = { time: now, pts: this.#frames[0].pts };
    return skipped;
  }
}

/** How long prompts take: sent, queued, applied, received, shown. Keeps the newest `most`. */
export class SwitchBook {
  #entries = new Map();
  #most;

  constructor(most = 100) {
    this.#most = most;
  }

  get all() {
    return [...this.#entries.values()];
  }

  sent(id, prompt, now) {
    const entry = { id, prompt, sent: now, queued: null, applied: null, received: null, shown: null };
    this.#entries.set(id, { ...entry, sequence: null, failure: null });
    if (this.#entries.size > this.#most) this.#entries.delete(this.#entries.keys().next().value);
  }

  queued(id, now) {
    this.#note(id, "queued", now);
  }

  applied(id, sequence, now) {
    this.#note(id, "applied", now);
    this.#note(id, "sequence", sequence);
  }

  /** A chunk is here: prompts whose first chunk it is are received. */
  received(metadata, now) {
    for (const id of [...(metadata.started_event_ids ?? []), ...(metadata.event_ids ?? [])]) {
      this.#note(id, "received", now);
      this.#note(id, "sequence", metadata.sequence);
    }
  }

  /** Chunks are taken back: a prompt whose first chunk was not seen yet is received with its next. */
  takeBack(fromSequence) {
    for (const entry of this.all) {
      if (entry.shown !== null || entry.sequence === null || entry.sequence < fromSequence) continue;
      entry.received = entry.sequence = null;
    }
  }

  /** A frame of chunk `sequence` is on screen; returns the prompts that are seen with it for the first time. */
  shown(sequence, now) {
    const seen = this.all.filter(
      (entry) => entry.received !== null && entry.shown === null && entry.sequence <= sequence,
    );
    for (const entry of seen) entry.shown = now;
    return seen;
  }

  failed(id, failure) {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.received !== null) return false;
    this.#note(id, "failure", failure);
    return true;
  }

  /** The session is over: what was not received will not be. */
  end(failure) {
    for (const entry of this.all) if (entry.failure === null) this.failed(entry.id, failure);
  }

  #note(id, name, value) {
    const entry = this.#entries.get(id);
    if (entry !== undefined && entry[name] === null) entry[name] = value;
  }
}

/** Frames a second over the last `span` milliseconds. */
export class FrameRate {
  #times = [];

  constructor(span = 2000) {
    this.span = span;
  }

  add(now) {
    this.#times.push(now);
    while (this.#times[0] < now - this.span) this.#times.shift();
  }

  /** Null until there is enough to tell. */
  value(now) {
    const recent = this.#times.filter((time) => time >= now - this.span);
    if (recent.length < 2) return null;
    return ((recent.length - 1) * 1000) / (recent[recent.length - 1] - recent[0]);
  }
}

/** Milliseconds for people: "840 ms", "1.2 s", "–" for what was not measured. */
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** One line on how a prompt is getting on. */
export function progress(entry) {
  if (entry.failure !== null) return entry.failure;
  const since = (time) => duration(time - entry.sent);
  if (entry.shown !== null) return `on screen after ${since(entry.shown)} (here after ${since(entry.received)})`;
  if (entry.received !== null) return `here after ${since(entry.received)}, about to be shown`;
  if (entry.queued !== null) return "accepted, waiting for its block";
  return "sent";
}

/** Where a shot stands that has no place yet. */
export function waiting({ position, waiting: all }) {
  if (position <= 1) return "All places are taken. This shot is next.";
  return `All places are taken. This shot is number ${position} of ${all} that wait.`;
}

/** What the server says of a shot, as the texts of three figures. */
export function statistics(stats) {
  const number = (value, unit) => (value === null || value === undefined ? "–" : `${value.toFixed(1)}${unit}`);
  return { made: number(stats.fps, ""), lead: number(stats.lead_seconds, " s"), change: duration(stats.switch_ms) };
}

/** What to expect of a server that goes away. */
export function draining({ deadline_seconds: seconds }) {
  const time = seconds > 0 ? `in at most ${Math.ceil(seconds)} seconds` : "now";
  return `The server is shutting down. This shot ends ${time}.`;
}

const RESUME_REFUSED = ["resume_token_invalid", "session_unknown", "session_ended"];

/** What it takes to come back to a session whose socket was lost: a token, and attempts while the server keeps it. */
export class Comeback {
  lostAt = null;
  #session = null;
  #token = null;
  #grace = 0; // milliseconds
  #attempts = 0;

  /** Take what `video.start` or `session.resumed` says. */
  note(message) {
    this.#session = message.session_id ?? this.#session;
    this.#token = message.resume_token ?? this.#token;
    if (message.limits?.resume_grace_s) this.#grace = message.limits.resume_grace_s * 1000;
  }

  /** The socket is lost: milliseconds to wait before the next is tried; null where there is no way back. */
  next(now) {
    if (this.#token === null) return null;
    this.lostAt ??= now;
    const wait = this.#attempts === 0 ? 0 : Math.min(5000, 250 * 2 ** (this.#attempts - 1));
    if (now + wait > this.lostAt + this.#grace) return null;
    this.#attempts += 1;
    return wait;
  }

  hello(last) {
    return {
      type: "session.resume", session_id: this.#session, resume_token: this.#token, last_sequence: last,
    };
  }

  back() {
    this.lostAt = null;
    this.#attempts = 0;
  }

  /** Whether an error ends the attempts; others may be followed by another try. */
  isRefused(error) {
    return RESUME_REFUSED.includes(error.code);
  }
}

const WORDS = {
  resume_token_invalid: "The shot goes on somewhere else.",
  session_unknown: "The server does not keep the shot any more.",
  session_ended: "The shot ended while the connection was lost.",
  capacity: "All places are taken at the moment.",
  worker_unavailable: "The model is not ready yet.",
  worker_died: "The engine stopped in the middle of the shot and is being started again.",
  server_draining: "The server is shutting down.",
  slow_consumer: "The connection is too slow for the picture, so the server ended the shot.",
  idle_timeout: "Nothing was heard from this page for too long, so the server ended the shot.",
  start_timeout: "The server waited too long for the first prompt.",
  prompt_empty: "The prompt is empty.",
  interactions_full: "Too many prompts are waiting. Let some of them happen first.",
  rate_limited: "That was too fast. Wait a moment.",
  length_limit: "The shot would be longer than the server allows.",
  internal_error: "Something went wrong in the server.",
};

/** An error of the server in clear words, with what can be done about it. */
export function explain(error) {
  const words = WORDS[error.code] ?? error.message;
  if (!error.fatal) return words;
  if (!error.retryable) return `${words} The shot has ended.`;
  const when = error.retry_after > 0 ? `in ${Math.ceil(error.retry_after)} seconds` : "in a moment";
  return `${words} Press Start to try again ${when}.`;
}
