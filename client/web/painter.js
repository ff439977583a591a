// Chunks of pictures to a canvas, each frame at its moment; the same in a worker and, where there is none, in the page.
//
// Knows pictures and a context; nothing of documents or sockets. Invariants: chunks reach the buffer in order however
// long each takes to decode; every picture is freed; a hidden page, which gets no animation frames, piles up nothing.

import { FrameRate, JitterBuffer } from "./buffer.js";
import { clock } from "./clock.js";
import { splitChunk } from "./wire.js";

/** @typedef {import("./wire.js").Metadata} Metadata */
/** @typedef {{sequence: number, pts: number, picture: ImageBitmap}} Frame */
/**
 * What a screen tells: a chunk's first frame is on it, how it goes, or why it cannot go on. Times are since 1970.
 * @typedef {{type: "shown", sequence: number, pts: number, at: number}
 *   | {type: "facts", at: number, position: number, ahead: number, rate: number | null, underruns: number,
 *      dropped: number, frames: number}
 *   | {type: "fault", message: string}} Fact
 */

const FACTS_MS = 100;

export class Painter {
  /** @type {JitterBuffer<Frame> | null} */
  #buffer = null;
  #rate = new FrameRate();
  #decoding = Promise.resolve();
  #frames = 0;
  #late = 0; // frames whose moment passed before they could be drawn
  #last = -1;
  #told = 0;
  #epoch = 0; // grows when what is being decoded is not wanted any more
  /** @type {{from: number, epoch: number} | null} */
  #gone = null;

  /**
   * @param {OffscreenCanvas | HTMLCanvasElement} canvas
   * @param {(fact: Fact) => void} tell
   */
  constructor(canvas, tell) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.tell = tell;
  }

  /** @param {{fps: number, block: number, width: number, height: number}} facts `block` in seconds */
  begin({ fps, block, width, height }) {
    this.clear();
    this.#buffer = new JitterBuffer({ fps, target: block, most: 4 * block });
    if (this.canvas.width === width && this.canvas.height === height) return; // setting a size clears the picture
    this.canvas.width = width;
    this.canvas.height = height;
  }

  /** @param {Metadata} metadata @param {ArrayBuffer} bytes */
  push(metadata, bytes) {
    const epoch = this.#epoch;
    const work = async () => this.#decode(metadata, bytes, epoch);
    this.#decoding = this.#decoding.then(work).catch((error) => {
      this.tell({ type: "fault", message: `A frame could not be decoded (${error.message}).` });
    });
  }

  /** @param {Metadata} metadata @param {ArrayBuffer} bytes @param {number} epoch */
  async #decode(metadata, bytes, epoch) {
    const pieces = splitChunk(metadata, bytes);
    const type = `image/${metadata.format}`;
    const pictures = await Promise.all(pieces.map((one) => createImageBitmap(new Blob([one.bytes], { type }))));
    const frames = pieces.map(({ sequence, pts }, index) => ({ sequence, pts, picture: pictures[index] }));
    const unwanted = this.#gone !== null && epoch < this.#gone.epoch && metadata.sequence >= this.#gone.from;
    if (unwanted || this.#buffer === null) free(frames);
    else free(this.#buffer.push(frames, clock()));
  }

  /** Chunks from here on are not to be shown. @param {number} from */
  takeBack(from) {
    this.#epoch += 1;
    this.#gone = { from, epoch: this.#epoch };
    if (this.#buffer) free(this.#buffer.takeBack(from));
  }

  /** The next block comes when it comes. */
  hold() {
    this.#buffer?.excuseNext();
  }

  clear() {
    this.takeBack(0);
    if (this.#buffer) free(this.#buffer.clear());
    this.#buffer = null;
  }

  /** To be called often: shows what is due. */
  draw() {
    const buffer = this.#buffer;
    if (buffer === null) return;
    const now = clock();
    const { frame, passed } = buffer.take(now);
    free(passed);
    this.#late += passed.length;
    if (frame !== null) {
      this.context.drawImage(frame.picture, 0, 0, this.canvas.width, this.canvas.height);
      free([frame]);
      this.#frames += 1;
      this.#rate.add(now);
      if (frame.sequence !== this.#last) this.tell({ type: "shown", sequence: frame.sequence, pts: frame.pts, at: now });
      this.#last = frame.sequence;
    }
    if (now - this.#told >= FACTS_MS) this.#facts(buffer, now);
  }

  /** @param {JitterBuffer<Frame>} buffer @param {number} now */
  #facts(buffer, now) {
    this.#told = now;
    this.tell({
      type: "facts", at: now, position: buffer.position(now), ahead: buffer.ahead(now), rate: this.#rate.value(now),
      underruns: buffer.underruns, dropped: buffer.skipped + this.#late, frames: this.#frames,
    });
  }
}

/** @param {Frame[]} frames */
function free(frames) {
  for (const frame of frames) frame.picture.close();
}
