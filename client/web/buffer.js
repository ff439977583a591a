// When a frame is due: the buffer of one block, and the rate at which frames are shown.
//
// Knows time stamps only; nothing of pictures, and it is given the time, in milliseconds. Invariant: frames come out in
// the order of their time stamps, each at most once.

/**
 * Frames that wait for their moment. The picture starts with the first block and goes on by the time stamps; it
 * holds when a block is late and goes on from there when it comes. When more than `most` seconds have piled up
 * (after a stall of the network), it jumps ahead to `target` seconds, so that prompts do not take longer for ever.
 * @template {{sequence: number, pts: number}} F
 */
export class JitterBuffer {
  underruns = 0;
  skipped = 0;
  /** @type {F[]} */
  #frames = [];
  #end = 0; // media seconds until which there are frames
  #excused = false;
  /** @type {{time: number, pts: number} | null} */
  #anchor = null; // the frame with time stamp `pts` is due at `time`
  #tolerance;

  /** @param {{fps: number, target?: number, most?: number}} options seconds */
  constructor({ fps, target = 0.75, most = 3 }) {
    this.frameSeconds = 1 / fps;
    this.target = target;
    this.most = most;
    this.#tolerance = 500 / fps; // half a frame late cannot be seen
  }

  get length() {
    return this.#frames.length;
  }

  /**
   * Add a block's frames; returns those that are skipped, so that their pictures can be freed.
   * @param {F[]} frames
   * @param {number} now
   * @returns {F[]}
   */
  push(frames, now) {
    if (frames.length === 0) return [];
    const first = frames[0].pts;
    /** @type {F[]} */
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

  /**
   * The frame that is due at `now`, or null if the one before stays; and those passed over to get there.
   * @param {number} now
   * @returns {{frame: F | null, passed: F[]}}
   */
  take(now) {
    let due = 0;
    while (due < this.#frames.length && this.#due(this.#frames[due].pts) <= now) due += 1;
    if (due === 0) return { frame: null, passed: [] };
    const passed = this.#frames.splice(0, due);
    return { frame: passed.pop() ?? null, passed };
  }

  /** Media seconds that are on screen at `now`. @param {number} now */
  position(now) {
    if (this.#anchor === null) return 0;
    return Math.max(0, Math.min(this.#end, this.#anchor.pts + (now - this.#anchor.time) / 1000));
  }

  /** Seconds that are here and not yet shown. @param {number} now */
  ahead(now) {
    return Math.max(0, this.#end - this.position(now));
  }

  /** After a pause the next block comes when it comes. */
  excuseNext() {
    this.#excused = true;
  }

  /**
   * Frames of these chunks will not be shown; returns those that wait, so that their pictures can be freed.
   * @param {number} fromSequence
   */
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

  /** @param {number} pts */
  #due(pts) {
    const anchor = this.#anchor ?? { time: Infinity, pts };
    return anchor.time + (pts - anchor.pts) * 1000;
  }

  /** @param {number} now */
  #buffered(now) {
    const last = this.#frames[this.#frames.length - 1];
    return (this.#due(last.pts) - now) / 1000 + this.frameSeconds;
  }

  /** @param {number} now */
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

/** Frames a second over the last `span` milliseconds. */
export class FrameRate {
  /** @type {number[]} */
  #times = [];

  constructor(span = 2000) {
    this.span = span;
  }

  /** @param {number} now */
  add(now) {
    this.#times.push(now);
    while (this.#times[0] < now - this.span) this.#times.shift();
  }

  /** Null until there is enough to tell. @param {number} now */
  value(now) {
    const recent = this.#times.filter((time) => time >= now - this.span);
    if (recent.length < 2) return null;
    return ((recent.length - 1) * 1000) / (recent[recent.length - 1] - recent[0]);
  }
}
