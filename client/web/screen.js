// A screen for a take: a canvas that a worker paints, one that the page paints, or a film (film.js).
//
// Knows elements and the painter; nothing of sockets. Invariants: every kind of screen has the same methods and tells the
// same facts; where a worker cannot be had, the page paints, on a canvas of its own.

/** @typedef {import("./painter.js").Fact} Fact */
/** @typedef {import("./wire.js").Metadata} Metadata */
/**
 * @typedef {{element: HTMLCanvasElement | HTMLVideoElement, begin: (facts: any) => void,
 *   push: (metadata: Metadata, bytes: ArrayBuffer) => void, takeBack: (from: number, pts: number | null) => void,
 *   hold: () => void, close: () => void, pause?: (paused: boolean) => void}} Screen
 */

/** @param {string} format @param {(fact: Fact) => void} tell @param {{worker: boolean}} how */
export async function makeScreen(format, tell, how) {
  if (format === "m4s") {
    const { FilmScreen } = await import("./film.js");
    return /** @type {Screen} */ (new FilmScreen(tell));
  }
  const able = how.worker && typeof Worker === "function" && "transferControlToOffscreen" in HTMLCanvasElement.prototype;
  if (able) {
    try {
      return await workerScreen(tell);
    } catch {
      // A browser without modules in workers: the page paints.
    }
  }
  const { Painter } = await import("./painter.js");
  return new PageScreen((canvas) => new Painter(canvas, tell));
}

/** Resolves when the worker runs. @param {(fact: Fact) => void} tell @returns {Promise<Screen>} */
function workerScreen(tell) {
  return new Promise((resolve, reject) => {
    const worker = new Worker("painter-worker.js", { type: "module" });
    worker.onerror = (event) => {
      worker.terminate();
      reject(new Error(event.message));
    };
    worker.onmessage = () => {
      worker.onmessage = ({ data }) => tell(data);
      worker.onerror = (event) => tell({ type: "fault", message: `The painter stopped (${event.message}).` });
      resolve(new WorkerScreen(worker));
    };
  });
}

class WorkerScreen {
  element = document.createElement("canvas");

  /** @param {Worker} worker */
  constructor(worker) {
    this.worker = worker;
    const canvas = this.element.transferControlToOffscreen();
    worker.postMessage({ type: "canvas", canvas }, [canvas]);
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

  /** @param {(canvas: HTMLCanvasElement) => import("./painter.js").Painter} paint */
  constructor(paint) {
    this.painter = paint(this.element);
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
