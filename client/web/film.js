// A screen that is a film: H.264 fragments through Media Source Extensions, for links that cannot carry pictures.
//
// Knows the video element; nothing of sockets. Invariants: fragments are appended in order, one at a time; what was seen
// more than ten seconds ago is let go, so that memory stays; the clock of the picture is the element's own.

import { FrameRate } from "./buffer.js";
import { clock } from "./clock.js";

/** @typedef {import("./painter.js").Fact} Fact */
/** @typedef {import("./wire.js").Metadata} Metadata */

const KEPT_BEHIND = 10; // seconds
const MOST_AHEAD = 3;
const EDGE = 0.01;

export class FilmScreen {
  element = document.createElement("video");
  #source = new MediaSource();
  /** @type {SourceBuffer | null} */
  #buffer = null;
  /** @type {((buffer: SourceBuffer) => void)[]} */
  #work = [];
  /** @type {{sequence: number, pts: number, end: number}[]} */
  #chunks = [];
  #end = 0;
  #rate = new FrameRate();
  #underruns = 0;
  #frames = 0;
  #jumped = 0;
  #last = -1;
  #begun = false;
  #excused = true;
  #fps = 16;

  /** @param {(fact: Fact) => void} tell */
  constructor(tell) {
    this.tell = tell;
    const video = this.element;
    video.muted = video.playsInline = video.autoplay = true;
    video.disableRemotePlayback = true;
    this.url = URL.createObjectURL(this.#source);
    video.src = this.url;
    video.addEventListener("waiting", () => {
      this.#underruns += this.#begun && !this.#excused ? 1 : 0;
    });
    video.addEventListener("error", () => this.#fail(video.error?.message ?? "unknown"));
    this.timer = setInterval(() => this.#facts(), 100);
    if ("requestVideoFrameCallback" in video) this.#watch();
  }

  /** @param {{fps: number, codec?: string, init?: string}} facts `init` in base64 */
  async begin({ fps, codec, init }) {
    this.#fps = fps;
    if (this.#buffer || !codec || !init) return;
    if (this.#source.readyState !== "open") {
      await new Promise((resolve) => this.#source.addEventListener("sourceopen", resolve, { once: true }));
    }
    const buffer = this.#source.addSourceBuffer(`video/mp4; codecs="${codec}"`);
    this.#buffer = buffer;
    buffer.addEventListener("updateend", () => this.#next());
    buffer.addEventListener("error", () => this.#fail("a fragment is not understood"));
    this.#work.unshift((target) => target.appendBuffer(Uint8Array.from(atob(init), (one) => one.charCodeAt(0))));
    this.#next();
  }

  /** @param {Metadata} metadata @param {ArrayBuffer} bytes */
  push(metadata, bytes) {
    if (metadata.num_frames === 0) return;
    const { sequence, pts } = metadata;
    const end = pts + metadata.num_frames / this.#fps;
    const back = this.#begun && pts < this.#end - EDGE;
    if (back) this.#drop(pts);
    this.#chunks.push({ sequence, pts, end });
    this.#end = end;
    this.#work.push((buffer) => buffer.appendBuffer(bytes));
    if (!this.#begun || back) this.#work.push(() => this.#seek(pts));
    this.#begun = true;
    this.#excused = false;
    this.#next();
  }

  /** @param {number} from @param {number | null} pts */
  takeBack(from, pts) {
    const gone = this.#chunks.find((chunk) => chunk.sequence >= from);
    this.#chunks = this.#chunks.filter((chunk) => chunk.sequence < from);
    const begin = gone?.pts ?? pts;
    if (begin !== null && begin < this.#end) this.#drop(begin);
  }

  hold() {
    this.#excused = true;
  }

  close() {
    clearInterval(this.timer);
    this.element.pause();
    this.element.removeAttribute("src");
    this.element.load();
    URL.revokeObjectURL(this.url);
  }

  /** @param {number} from */
  #drop(from) {
    this.#chunks = this.#chunks.filter((chunk) => chunk.pts < from - EDGE);
    this.#end = from;
    this.#work.push((buffer) => buffer.remove(Math.max(0, from), Infinity));
    this.#next();
  }

  /** @param {number} pts */
  #seek(pts) {
    this.element.currentTime = pts + EDGE / 2;
    this.element.play().catch(() => { this.element.controls = true; }); // where nothing may play by itself
    queueMicrotask(() => this.#next());
  }

  #next() {
    const buffer = this.#buffer;
    if (buffer === null || buffer.updating || this.#work.length === 0 || this.#source.readyState !== "open") return;
    try {
      this.#work.shift()?.(buffer);
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : "unknown");
    }
  }

  #watch() {
    const seen = (/** @type {number} */ _now, /** @type {{mediaTime: number}} */ { mediaTime }) => {
      const now = clock();
      this.#frames += 1;
      this.#rate.add(now);
      const chunk = this.#chunks.findLast((one) => mediaTime >= one.pts - EDGE && mediaTime < one.end);
      if (chunk && chunk.sequence !== this.#last) {
        this.#last = chunk.sequence;
        this.tell({ type: "shown", sequence: chunk.sequence, pts: chunk.pts, at: now });
      }
      this.element.requestVideoFrameCallback(seen);
    };
    this.element.requestVideoFrameCallback(seen);
  }

  #facts() {
    const video = this.element;
    if (!this.#begun) return;
    const position = Math.min(video.currentTime, this.#end);
    const ahead = Math.max(0, this.#end - position);
    if (ahead > MOST_AHEAD && video.buffered.length > 0 && !video.seeking) {
      this.#jumped += Math.round((ahead - 1) * this.#fps);
      video.currentTime = this.#end - 1;
    }
    if (position > 2 * KEPT_BEHIND && video.buffered.length > 0 && video.buffered.start(0) < position - 2 * KEPT_BEHIND) {
      this.#work.push((buffer) => buffer.remove(0, position - KEPT_BEHIND));
      this.#chunks = this.#chunks.filter((chunk) => chunk.end > position - KEPT_BEHIND);
      this.#next();
    }
    const now = clock();
    const dropped = video.getVideoPlaybackQuality().droppedVideoFrames + this.#jumped;
    this.tell({
      type: "facts", at: now, position, ahead, rate: this.#rate.value(now), underruns: this.#underruns, dropped,
      frames: this.#frames,
    });
  }

  /** @param {string} why */
  #fail(why) {
    this.tell({ type: "fault", message: `The film could not be played (${why}).` });
  }
}
