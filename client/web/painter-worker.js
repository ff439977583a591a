// The painter in a worker of its own, so that a busy page does not hold up the picture.
//
// Knows the messages of screen.js; nothing else. Invariant: the first message brings the canvas.

import { Painter } from "./painter.js";

const HIDDEN_MS = 250;
/** @type {Painter | null} */
let painter = null;

self.onmessage = ({ data }) => {
  if (data.type === "canvas") painter = new Painter(data.canvas, (fact) => self.postMessage(fact));
  else if (data.type === "begin") painter?.begin(data.facts);
  else if (data.type === "chunk") painter?.push(data.metadata, data.bytes);
  else if (data.type === "takeBack") painter?.takeBack(data.from);
  else if (data.type === "hold") painter?.hold();
  else if (data.type === "clear") painter?.clear();
};

function animate() {
  painter?.draw();
  self.requestAnimationFrame(animate);
}

animate();
setInterval(() => painter?.draw(), HIDDEN_MS); // where the page is hidden there are no animation frames
self.postMessage({ type: "ready" });
