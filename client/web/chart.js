// A small chart of the last minute: frames a second as a line, the buffer as an area.
//
// Knows a canvas and numbers. Invariant: what is drawn was measured; where nothing was, the line has a gap.

const SAMPLES = 120; // two a second

export class Chart {
  /** @type {{rate: number | null, ahead: number}[]} */
  #samples = [];

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
  }

  clear() {
    this.#samples = [];
  }

  /** @param {number | null} rate frames a second @param {number} ahead seconds */
  add(rate, ahead) {
    this.#samples.push({ rate, ahead });
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** @param {number} fps the rate that is aimed at */
  draw(fps) {
    const { canvas } = this;
    const scale = Math.min(3, window.devicePixelRatio || 1);
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (width === 0 || height === 0) return;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const style = getComputedStyle(canvas);
    context.clearRect(0, 0, width, height);
    const x = (/** @type {number} */ index) => ((index + SAMPLES - this.#samples.length) / (SAMPLES - 1)) * width;
    const y = (/** @type {number} */ share) => height - 1 - Math.min(1, share) * (height - 3 * scale);
    context.strokeStyle = style.getPropertyValue("--line");
    context.lineWidth = scale;
    line(context, [[0, y(0.8)], [width, y(0.8)]]);
    line(context, [[0, height - scale / 2], [width, height - scale / 2]]);
    context.fillStyle = style.getPropertyValue("--hue-1");
    context.globalAlpha = 0.4;
    context.beginPath();
    context.moveTo(x(0), height);
    this.#samples.forEach(({ ahead }, index) => context.lineTo(x(index), y(ahead / 3)));
    context.lineTo(x(this.#samples.length - 1), height);
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = style.getPropertyValue("--accent");
    context.lineWidth = 1.5 * scale;
    /** @type {number[][]} */
    let points = [];
    this.#samples.forEach(({ rate }, index) => {
      if (rate !== null) points.push([x(index), y((rate / fps) * 0.8)]);
      if (rate === null || index === this.#samples.length - 1) {
        line(context, points);
        points = [];
      }
    });
  }
}

/** @param {CanvasRenderingContext2D} context @param {number[][]} points */
function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], index) => (index === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  context.stroke();
}
