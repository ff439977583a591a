// The wire without a socket: addresses, chunks, their order, and how a page comes back to a take.
//
// Knows the messages; nothing of documents, sockets or pictures, and it is given the time. Invariant: a chunk that does
// not fit its announcement is an Error, never a broken picture.

/** @typedef {{offset: number, length: number, pts: number}} Part */
/**
 * What announces a chunk.
 * @typedef {{sequence: number, take: number, block: number, pts: number, fps: number, num_frames: number,
 *   format: string, byte_length: number, frames: Part[], dropped_frames?: number, event_ids?: string[],
 *   started_event_ids?: string[]}} Metadata
 */
/** @typedef {{sequence: number, pts: number, bytes: ArrayBuffer}} Piece */
/** @typedef {{id: string, token: string, grace: number, last: number | null}} Saved */

/**
 * The socket's address for a page at `base`: next to it, so that a path prefix stays.
 * @param {string} base
 */
export function socketUrl(base) {
  const url = new URL("v1/realtime/video", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

/**
 * Cut a chunk's binary message into its frames; an Error says what does not fit.
 * @param {Metadata} metadata
 * @param {ArrayBuffer} bytes
 * @returns {Piece[]}
 */
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
  /** @type {number | null} */
  last = null; // the newest chunk that is here
  /** @type {{from: number, until: number}[]} */
  #gone = []; // what was taken back of what had come: numbers from `from` on, before `until`

  /**
   * Whether the chunk with this number is to be shown: not if it, or a later one, was here before.
   * @param {number} sequence
   */
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

  /**
   * Chunks from `from` on are taken back, here or not; the next one that comes is `next`.
   * @param {number} from
   * @param {number} next
   */
  takeBack(from, next) {
    this.#gone.push({ from, until: this.expected });
    if (this.#gone.length > 16) this.#gone.shift(); // only chunks that are still being decoded ask
    this.#skipTo(from);
    this.expected = Math.max(this.expected, next);
  }

  /**
   * After a lost connection: chunks up to this one cannot be sent again.
   * @param {number} to
   */
  lost(to) {
    this.#skipTo(to + 1);
  }

  /** @param {number} sequence */
  #skipTo(sequence) {
    this.missing += Math.max(0, sequence - this.expected);
    this.expected = Math.max(this.expected, sequence);
  }

  /** After a reload: chunks up to this one were seen. @param {number | null} last */
  begin(last) {
    this.last = last;
    this.expected = last === null ? 0 : last + 1;
  }

  /** @param {number} sequence */
  isTakenBack(sequence) {
    return this.#gone.some(({ from, until }) => sequence >= from && sequence < until);
  }
}

const RESUME_REFUSED = ["resume_token_invalid", "session_unknown", "session_ended", "not_found"];

/** What it takes to come back to a take whose socket was lost: a token, and attempts while the server keeps it. */
export class Comeback {
  /** @type {number | null} */
  lostAt = null;
  /** @type {string | null} */
  session = null;
  /** @type {string | null} */
  token = null;
  grace = 0; // milliseconds
  #attempts = 0;

  /**
   * Take what `video.start` or `session.resumed` says.
   * @param {{session_id?: string, resume_token?: string, limits?: {resume_grace_s?: number}}} message
   */
  note(message) {
    this.session = message.session_id ?? this.session;
    this.token = message.resume_token ?? this.token;
    if (message.limits?.resume_grace_s) this.grace = message.limits.resume_grace_s * 1000;
  }

  /**
   * The socket is lost: milliseconds to wait before the next is tried; null where there is no way back.
   * @param {number} now
   */
  next(now) {
    if (this.token === null) return null;
    this.lostAt ??= now;
    const wait = this.#attempts === 0 ? 0 : Math.min(5000, 250 * 2 ** (this.#attempts - 1));
    if (now + wait > this.lostAt + this.grace) return null;
    this.#attempts += 1;
    return wait;
  }

  /** @param {number | null} last the newest chunk that is here */
  hello(last) {
    const place = last === null ? {} : { last_sequence: last };
    return { type: "session.resume", session_id: this.session, resume_token: this.token, ...place };
  }

  back() {
    this.lostAt = null;
    this.#attempts = 0;
  }

  /**
   * Whether an error ends the attempts; others may be followed by another try.
   * @param {{code: string}} error
   */
  isRefused(error) {
    return RESUME_REFUSED.includes(error.code);
  }
}
