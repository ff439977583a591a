// The page: a prompt box, a picture, and what was measured. One socket at a time for each shot.
//
// Knows the document and the wire; what can be decided without them is in player.js. Invariants: `shot` is the one
// that is connected, or null, and every message of an older one is passed over; a socket that is lost is replaced while
// the server keeps the shot.

import {
  Comeback, FrameRate, JitterBuffer, SequenceCheck, SwitchBook, draining, duration, explain, progress, socketUrl,
  splitChunk, statistics, waiting,
} from "./player.js";

const SUBPROTOCOL = "longtake.v1";
const REPORT_MS = 250; // between two reports of the playhead
const FIRST = "first"; // stands for the prompt that the shot began with, which has no event id
const MODE_HINTS = {
  recache: "The shot goes on, and turns into what you ask for.",
  flush: "Only the last moment is kept, so the change is quicker and freer.",
  cut: "Nothing is kept: a new scene begins.",
  keep: "Everything is kept, so the change is slow and may be partial.",
};

const DRAINED = "The server has shut down, and ended the shot. Start a new one when it is back.";

const element = (id) => document.getElementById(id);
const canvas = element("canvas");
const context = canvas.getContext("2d");
const prompt = element("prompt");

let shot = null;

/** One shot: its socket, what has come, and what is on screen. */
class Shot {
  state = "connecting"; // then: starting, running, stopping, ended
  book = new SwitchBook();
  order = new SequenceCheck();
  rate = new FrameRate();
  buffer = null;
  announced = null;
  firstFrame = null;
  terminal = false;
  prompts = 0;
  controls = 0;
  place = null; // where the shot waits, while there is no place for it
  paused = false;
  pausing = false; // the server was asked, and has not answered
  decoding = Promise.resolve();
  comeback = new Comeback();
  unanswered = new Map(); // prompts that the server has said nothing of

  constructor(text, seed) {
    this.firstPrompt = text;
    this.seed = seed;
    this.connect(() => this.start());
  }

  connect(opened) {
    const socket = new WebSocket(socketUrl(document.baseURI), [SUBPROTOCOL]);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = opened;
    socket.onmessage = (event) => { if (socket === this.socket) this.receive(event.data); };
    socket.onclose = (event) => { if (socket === this.socket) this.closed(event); };
  }

  /** Come back to the shot over another socket, after the last chunk that is here. */
  resume() {
    if (this.state === "ended") return;
    this.announced = null;
    this.connect(() => this.send(this.comeback.hello(this.order.last)));
  }

  resumed(message) {
    this.comeback.note(message);
    if (message.missing) this.order.lost(message.missing.to_sequence);
    if (message.cause === "connection") {
      this.comeback.back();
      this.pausing = false;
      this.send({ type: "session.ping" }); // by which the server knows that the token is here
      for (const prompt of this.unanswered.values()) this.send(prompt);
      if (this.state === "stopping") this.send({ type: "session.stop" });
    }
    alertUser("");
    this.buffer?.excuseNext();
    tell("The shot goes on.");
  }

  start() {
    this.state = "starting";
    this.startedAt = performance.now();
    this.book.sent(FIRST, this.firstPrompt, this.startedAt);
    this.send({ type: "session.start", prompt: this.firstPrompt, seed: this.seed, format: "jpeg" });
    refresh();
  }

  change(text, mode, blocks) {
    this.prompts += 1;
    const id = `prompt-${this.prompts}`;
    this.book.sent(id, text, performance.now());
    const message = { type: "session.interaction", event_id: id, prompt: text, mode, transition_chunks: blocks };
    this.unanswered.set(id, message);
    this.send(message);
  }

  togglePause() {
    this.controls += 1;
    this.pausing = true;
    const action = this.paused ? "resume" : "pause";
    this.send({ type: "session.control", action, event_id: `control-${this.controls}` });
  }

  /** Tell the server what is on screen, so that it makes the video just ahead of that. */
  report(now) {
    if (this.state !== "running" || this.firstFrame === null || this.comeback.lostAt !== null) return;
    this.send({
      type: "session.playback",
      position_seconds: this.buffer.position(now),
      buffered_seconds: this.buffer.ahead(now),
      dropped: this.buffer.skipped,
    });
  }

  stop() {
    if (this.state === "running" || this.state === "starting") this.send({ type: "session.stop" });
    else this.socket.close(1000);
    this.state = "stopping";
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  receive(data) {
    if (this.state === "ended") return;
    try {
      if (typeof data === "string") this.handle(JSON.parse(data));
      else this.media(data);
    } catch (error) {
      this.fail(`The server sent something this page cannot read (${error.message}).`);
    }
  }

  handle(message) {
    if (message.type === "video.chunk_metadata") {
      this.announced = message;
      return;
    }
    const now = performance.now();
    const id = message.event_id;
    if (message.type.startsWith("session.interaction.") || message.type === "error") this.unanswered.delete(id);
    const handlers = {
      "session.queued": () => { this.place = message; },
      "video.start": () => this.begin(message),
      "media.init": () => resize(message),
      "video.discard": () => this.takeBack(message),
      "session.resumed": () => this.resumed(message),
      "session.worker_restarting": () => alertUser("The engine is being started again. The shot then goes on."),
      "session.control.applied": () => this.controlled(message.action),
      "session.stats": () => showStatistics(message),
      "session.draining": () => alertUser(draining(message)),
      "session.interaction.queued": () => this.book.queued(id, now),
      "session.interaction.applied": () => this.book.applied(id, message.sequence, now),
      "session.interaction.superseded": () => this.book.failed(id, "a newer prompt took its place"),
      "session.interaction.rejected": () => this.refuse(id, message),
      "session.warning": () => tell(message.message),
      "session.done": () => this.end(message.reason === "drained" ? DRAINED : ""),
      "error": () => this.error(message),
    };
    handlers[message.type]?.();
    refresh();
  }

  error(message) {
    const comingBack = this.comeback.lostAt !== null;
    if (comingBack && message.fatal && message.retryable) return; // its socket closes, and the next may do
    if (comingBack && this.comeback.isRefused(message)) this.fail(explain({ ...message, fatal: true }));
    else if (message.fatal) this.fail(explain(message));
    else this.refuse(message.event_id, message);
  }

  begin(message) {
    this.comeback.note(message);
    if (this.buffer !== null) return; // come back
    if (this.state === "starting") this.state = "running";
    this.place = null;
    const block = message.frames_per_block / message.fps;
    this.buffer = new JitterBuffer({ fps: message.fps, target: block, most: 4 * block });
    resize(message);
    this.book.queued(FIRST, performance.now());
    tell(`Running, with seed ${this.seed}.`);
  }

  takeBack({ from_sequence: fromSequence, next_sequence: next }) {
    this.order.takeBack(fromSequence, next);
    this.book.takeBack(fromSequence);
    if (this.buffer !== null) free(this.buffer.takeBack(fromSequence));
  }

  controlled(action) {
    if (action === "quality") return;
    this.pausing = false;
    this.paused = action === "pause";
    if (!this.paused) this.buffer.excuseNext();
    tell(this.paused ? "Paused. What is here is still shown." : "The shot goes on.");
  }

  refuse(id, error) {
    if (id?.startsWith("control-")) this.pausing = false;
    const words = explain({ ...error, fatal: false });
    if (id !== undefined) this.book.failed(id, `refused: ${words}`);
    alertUser(words);
    if (this.state === "starting") this.fail(words);
  }

  media(bytes) {
    const metadata = this.announced;
    this.announced = null;
    if (metadata === null || this.buffer === null) throw new Error("bytes that nothing announced");
    if (!this.order.accept(metadata.sequence)) return;
    const now = performance.now();
    const frames = splitChunk(metadata, bytes);
    if (this.firstFrame === null) {
      this.firstFrame = now - this.startedAt;
      this.book.received({ ...metadata, event_ids: [FIRST] }, now);
    }
    this.book.received(metadata, now);
    // One chunk after the other, so that they reach the buffer in order however long each takes to decode.
    this.decoding = this.decoding.then(() => this.decode(metadata.format, frames));
    this.decoding = this.decoding.catch((error) => this.fail(`A frame could not be decoded (${error.message}).`));
  }

  async decode(format, frames) {
    const blobs = frames.map((frame) => new Blob([frame.bytes], { type: `image/${format}` }));
    const pictures = await Promise.all(blobs.map((blob) => createImageBitmap(blob)));
    const ready = frames.map((frame, index) => ({
      sequence: frame.sequence, pts: frame.pts, picture: pictures[index],
    }));
    if (this !== shot || (ready.length > 0 && this.order.isTakenBack(ready[0].sequence))) free(ready);
    else free(this.buffer.push(ready, performance.now()));
    // A hidden page gets no animation frames; what is past is freed here, so that nothing piles up.
    if (document.hidden) this.draw(performance.now());
  }

  draw(now) {
    if (this.buffer === null) return;
    const { frame, passed } = this.buffer.take(now);
    free(passed);
    if (frame === null) return;
    context.drawImage(frame.picture, 0, 0);
    free([frame]);
    element("curtain").hidden = true;
    this.rate.add(now);
    for (const entry of this.book.shown(frame.sequence, now)) {
      setNow(entry.prompt);
      if (entry.id !== FIRST) element("latency").textContent = duration(entry.shown - entry.sent);
      refresh();
    }
  }

  fail(words) {
    if (this.state === "ended") return;
    alertUser(words);
    if (prompt.value === "") prompt.value = this.firstPrompt; // so that Start is enough to try again
    this.end("");
  }

  end(words) {
    if (words === DRAINED) alertUser(""); // what it announced has happened
    this.state = "ended";
    this.terminal = true;
    this.book.end("the shot ended before its block");
    tell(words || "The shot has ended. Write a prompt to start another.");
    this.socket.close(1000);
    refresh();
  }

  closed(event) {
    if (this.terminal || this !== shot) return;
    if (this.comeBack()) return;
    const why = event.reason ? ` (${event.reason})` : "";
    const words = this.state === "connecting"
      ? "The server cannot be reached. Is it running?"
      : `The connection was lost${why}.`;
    if (this.state === "stopping") this.end("");
    else this.fail(`${words} Press Start to begin a new shot.`);
  }

  /** True if another socket is tried. */
  comeBack() {
    const began = this.state === "running" || this.state === "stopping";
    const wait = began ? this.comeback.next(performance.now()) : null;
    if (wait === null) return false;
    setTimeout(() => this.resume(), wait);
    alertUser("The connection was lost. Coming back to the shot.");
    return true;
  }
}

function resize({ width, height }) {
  if (canvas.width === width && canvas.height === height) return; // setting a size clears the picture
  canvas.width = width;
  canvas.height = height;
}

function showStatistics(stats) {
  const { made, lead, change } = statistics(stats);
  element("made").textContent = made;
  element("lead").textContent = lead;
  element("change").textContent = change;
}

function free(frames) {
  for (const frame of frames) frame.picture.close();
}

function tell(words) {
  element("state").textContent = words;
}

function alertUser(words) {
  element("alert").textContent = words;
  element("alert").hidden = words === "";
}

function setNow(text) {
  element("now").textContent = text;
  canvas.setAttribute("aria-label", `Moving picture of: ${text}`);
}

const isLive = () => shot !== null && shot.state !== "ended";

/** Bring the page in line with the shot. */
function refresh() {
  const live = isLive();
  element("send").textContent = live ? "Change" : "Start";
  element("prompt-label").textContent = live ? "What happens next?" : "What does the shot begin with?";
  element("send").disabled = live && shot.state !== "running";
  element("stop").disabled = !live || shot.state === "stopping";
  element("pause").disabled = !live || shot.state !== "running" || shot.pausing;
  element("pause").textContent = live && shot.paused ? "Resume" : "Pause";
  if (shot === null) return;
  if (shot.state === "connecting") tell("Connecting.");
  if (shot.state === "starting") tell(shot.place === null ? "Making the first frames." : waiting(shot.place));
  if (shot.state === "stopping") tell("Stopping.");
  element("log").replaceChildren(...shot.book.all.map(logItem));
  element("log-empty").hidden = shot.book.all.length > 0;
}

function logItem(entry) {
  const item = document.createElement("li");
  const note = document.createElement("span");
  note.className = "quiet";
  note.textContent = progress(entry);
  item.append(entry.prompt, note);
  return item;
}

function measure() {
  if (shot === null || shot.buffer === null) return;
  const rate = isLive() ? shot.rate.value(performance.now()) : null;
  element("first-frame").textContent = duration(shot.firstFrame);
  element("rate").textContent = rate === null ? "–" : rate.toFixed(1);
  const lost = shot.order.missing > 0 ? `, ${shot.order.missing} blocks lost` : "";
  element("underruns").textContent = `${shot.buffer.underruns}${lost}`;
}

function animate(now) {
  shot?.draw(now);
  requestAnimationFrame(animate);
}

/** Start a shot, or change the prompt of the one that runs. */
function direct(text) {
  alertUser("");
  if (text.trim() === "") {
    alertUser("The prompt is empty. Write what is to be seen.");
    return false;
  }
  if (!isLive()) {
    if (shot?.buffer) free(shot.buffer.clear());
    shot = new Shot(text, chosenSeed());
    element("latency").textContent = "–";
  } else if (shot.state === "running") {
    shot.change(text, element("mode").value, Number(element("transition").value));
  } else {
    return false;
  }
  refresh();
  return true;
}

/** The seed in its field, or one of our own: the server's have more digits than a JavaScript number can hold. */
function chosenSeed() {
  const seed = element("seed").value;
  return seed === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(seed);
}

function submit(event) {
  event.preventDefault();
  if (element("form").reportValidity() && direct(prompt.value)) prompt.value = "";
  prompt.focus();
}

function suggest(prompts) {
  const buttons = prompts.map((text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => direct(text));
    return button;
  });
  element("suggested").replaceChildren(...buttons);
  element("suggestions").hidden = prompts.length === 0;
}

async function findModel() {
  let model;
  try {
    const answer = await fetch("v1/models");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    model = (await answer.json()).data[0];
  } catch {
    if (!isLive()) tell("The model is not ready yet. Looking again in two seconds.");
    setTimeout(findModel, 2000);
    return;
  }
  const title = `${model.title ?? model.id}, ${model.width} by ${model.height}, ${model.fps} frames a second`;
  element("model").textContent = title;
  if (model.prompt_characters) prompt.maxLength = model.prompt_characters;
  suggest(model.suggested_prompts ?? []);
  if (!isLive()) tell("Ready.");
}

element("form").addEventListener("submit", submit);
element("stop").addEventListener("click", () => { shot?.stop(); refresh(); });
element("pause").addEventListener("click", () => { shot?.togglePause(); refresh(); });
element("mode").addEventListener("change", (event) => {
  element("mode-hint").textContent = MODE_HINTS[event.target.value];
});
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  element("form").requestSubmit();
});
setInterval(measure, 500);
setInterval(() => shot?.report(performance.now()), REPORT_MS);
requestAnimationFrame(animate);
prompt.focus();
refresh();
findModel();
