// A screen for a take: a canvas that a worker paints, one that the page paints, or a film (film.js).
//
// Knows elements and the painter; nothing of sockets. Invariants: every kind of screen has the same methods and tells the
// same facts; where a worker cannot be had, the page paints, on a canvas of its own.

import { Painter, clock } from "./painter.js";

/** @typedef {import("./painter.js").Fact} Fact */
/** @typedef {import("./wire.js").Metadata} Metadata */
/**
 * @typedef {{element: HTMLCanvasElement | HTMLVideoElement, begin: (facts: any) => void,
 *   push: (metadata: Metadata, bytes: ArrayBuffer) => void, takeBack: (from: number, pts: number | null) => void,
 *   hold: () => void, close: () => void, pause?: (paused: boolean) => void}} Screen
 */

/** @param {string} format @param {(fact: Fact) => void} tell @param {{marked: boolean, worker: boolean}} how */
export async function makeScreen(format, tell, how) {
  if (format === "m4s") {
    const { FilmScreen } = await import("./film.js");
    return /** @type {Screen} */ (new FilmScreen(tell));
  }
  const able = how.worker && typeof Worker === "function" && "transferControlToOffscreen" in HTMLCanvasElement.prototype;
  if (able) {
    try {
      return await workerScreen(tell, how.marked);
    } catch {
      // A browser without modules in workers: the page paints.
    }
  }
  return new PageScreen(tell, how.marked);
}

/** Resolves when the worker runs. @param {(fact: Fact) => void} tell @param {boolean} marked @returns {Promise<Screen>} */
function workerScreen(tell, marked) {
  return new Promise((resolve, reject) => {
    const worker = new Worker("painter-worker.js", { type: "module" });
    worker.onerror = (event) => {
      worker.terminate();
      reject(new Error(event.message));
    };
    worker.onmessage = () => {
      worker.onmessage = ({ data }) => tell(data);
      worker.onerror = (event) => tell({ type: "fault", message: `The painter stopped (${event.message}).` });
      resolve(new WorkerScreen(worker, marked));
    };
  });
}

class WorkerScreen {
  element = document.createElement("canvas");

  /** @param {Worker} worker @param {boolean} marked */
  constructor(worker, marked) {
    this.worker = worker;
    const canvas = this.element.transferControlToOffscreen();
    worker.postMessage({ type: "canvas", canvas, marked }, [canvas]);
  }

  /** @param {any} facts */
  begin(facts) {
    this.worker.postMessage({ type: "begin", facts });
  }

  /** @param {Metadata} metadata @param {ArrayBuffer} bytes */
  push(metadata, bytes) {
    this.worker.postMessage({ type: "chunk", metadata, bytes }, [bytes]);
  }

  /** @param {number} from */
  takeBack(from) {
    this.worker.postMessage({ type: "takeBack", from });
  }

  hold() {
    this.worker.postMessage({ type: "hold" });
  }

  close() {
    this.worker.terminate();
  }
}

class PageScreen {
  element = document.createElement("canvas");
  #open = true;

  /** @param {(fact: Fact) => void} tell @param {boolean} marked */
  constructor(tell, marked) {
    this.painter = new Painter(this.element, tell, marked);
    const animate = () => {
      if (!this.#open) return;
      this.painter.draw();
      requestAnimationFrame(animate);
    };
    animate();
    this.timer = setInterval(() => this.painter.draw(), 250);
  }

  /** @param {any} facts */
  begin(facts) {
    this.painter.begin(facts);
  }

  /** @param {Metadata} metadata @param {ArrayBuffer} bytes */
  push(metadata, bytes) {
    this.painter.push(metadata, bytes);
  }

  /** @param {number} from */
  takeBack(from) {
    this.painter.takeBack(from);
  }

  hold() {
    this.painter.hold();
  }

  close() {
    this.#open = false;
    clearInterval(this.timer);
    this.painter.clear();
  }
}

/** Whether this browser plays our films. */
export const canFilm = () => typeof MediaSource === "function"
  && MediaSource.isTypeSupported('video/mp4; codecs="avc1.42c01f"');

export { clock };
