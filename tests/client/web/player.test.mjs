// The page's logic without a page. Run by `make test-system`, which lays the modules out as node reads them:
// WEB_MODULES=folder node --test tests/client/web/

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { test } from "node:test";

const from = (name) => import(new URL(name, pathToFileURL(`${process.env.WEB_MODULES}/`)).href);
const { Comeback, SequenceCheck, socketUrl, splitChunk } = await from("wire.js");
const { FrameRate, JitterBuffer } = await from("buffer.js");
const { SwitchBook, progress } = await from("book.js");
const { draining, duration, explain, figure, waiting } = await from("words.js");

const FPS = 16;
const BLOCK_MS = 750;

/** The frames of block `index`: 12 of them, at 16 frames a second. */
function block(index) {
  return Array.from({ length: 12 }, (_, frame) => ({ sequence: index, pts: index * 0.75 + frame / FPS }));
}

/** Everything that is shown when frames are asked for every `step` ms. */
function play(buffer, from, to, step = 10) {
  const shown = [];
  for (let now = from; now < to; now += step) {
    const { frame } = buffer.take(now);
    if (frame !== null) shown.push({ pts: frame.pts, now });
  }
  return shown;
}

test("the socket lies beside the page, under whatever prefix", () => {
  assert.equal(socketUrl("http://host:8000/"), "ws://host:8000/v1/realtime/video");
  assert.equal(socketUrl("https://host/some/where/"), "wss://host/some/where/v1/realtime/video");
  assert.equal(socketUrl("https://host/a/index.html?x=1#y"), "wss://host/a/v1/realtime/video");
});

test("a chunk is cut into its frames", () => {
  const metadata = {
    sequence: 4, byte_length: 5, frames: [{ offset: 0, length: 2, pts: 3 }, { offset: 2, length: 3, pts: 3.5 }],
  };
  const frames = splitChunk(metadata, Uint8Array.of(1, 2, 3, 4, 5).buffer);
  assert.deepEqual(frames.map(({ sequence, pts }) => [sequence, pts]), [[4, 3], [4, 3.5]]);
  assert.deepEqual(frames.map(({ bytes }) => [...new Uint8Array(bytes)]), [[1, 2], [3, 4, 5]]);
});

test("a chunk that does not fit its metadata is refused", () => {
  const bytes = new ArrayBuffer(5);
  const part = (offset, length) => ({ offset, length, pts: 0 });
  const wrong = (byte_length, ...frames) => () => splitChunk({ sequence: 4, byte_length, frames }, bytes);
  assert.throws(wrong(6, part(0, 6)), /chunk 4: expected 6 bytes, got 5/);
  assert.throws(wrong(5, part(0, 2), part(3, 2)), /expected a frame at byte 2, got one at 3/);
  assert.throws(wrong(5, part(0, 3), part(2, 3)), /expected a frame at byte 3, got one at 2/);
  assert.throws(wrong(5, part(0, 2)), /expected frames of 5 bytes, got 2/);
});

test("sequence numbers: gaps are counted, repeats are not shown", () => {
  const order = new SequenceCheck();
  assert.deepEqual([0, 1, 1, 4, 2, 5].map((number) => order.accept(number)), [true, true, false, true, false, true]);
  assert.deepEqual([order.missing, order.duplicated], [2, 2]);
});

test("frames are shown when they are due, each once, in order", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  buffer.push(block(0), 1000);
  buffer.push(block(1), 1100);
  const shown = play(buffer, 1000, 3000);
  assert.equal(shown.length, 24);
  shown.forEach(({ pts, now }, index) => {
    assert.equal(pts, index / FPS);
    assert.ok(now - (1000 + pts * 1000) >= 0 && now - (1000 + pts * 1000) < 10);
  });
  assert.deepEqual([buffer.underruns, buffer.skipped, buffer.length], [0, 0, 0]);
});

test("nothing is due before the first block, and an empty block changes nothing", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  assert.deepEqual(buffer.take(1000), { frame: null, passed: [] });
  assert.deepEqual(buffer.push([], 1000), []);
  assert.equal(buffer.length, 0);
});

test("a page that draws seldom passes frames over and hands them back", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  buffer.push(block(0), 0);
  const { frame, passed } = buffer.take(500);
  assert.equal(frame.pts, 0.5);
  assert.equal(passed.length, 8);
});

test("a late block is an underrun; the picture holds and goes on from it without hurry", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  buffer.push(block(0), 0);
  play(buffer, 0, 1000);
  buffer.push(block(1), 1000);
  assert.equal(buffer.underruns, 1);
  const shown = play(buffer, 1000, 2500);
  assert.deepEqual([shown.length, shown[0].now, shown[11].pts], [12, 1000, 0.75 + 11 / FPS]);
  assert.ok(shown[11].now >= 1000 + (11 / FPS) * 1000);
});

test("less than half a frame late is not late", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  buffer.push(block(0), 0);
  buffer.push(block(1), BLOCK_MS + 30);
  assert.equal(buffer.underruns, 0);
  buffer.push(block(2), 2 * BLOCK_MS + 32);
  assert.equal(buffer.underruns, 1);
});

test("what has piled up after a stall is jumped over, so that latency does not grow", () => {
  const buffer = new JitterBuffer({ fps: FPS, target: 0.75, most: 3 });
  buffer.push(block(0), 0);
  play(buffer, 0, 5000);
  const skipped = [1, 2, 3, 4, 5, 6].flatMap((index) => buffer.push(block(index), 5000));
  // Five blocks are 3.75 s, too many: four are passed over. With the sixth it is 1.5 s, which may stay.
  assert.equal(skipped.length, 4 * 12);
  assert.equal(buffer.skipped, skipped.length);
  assert.equal(play(buffer, 5000, 10000)[0].pts, 5 * 0.75);
  assert.equal(buffer.underruns, 1);
});

test("the buffer stays bounded however much comes at once", () => {
  const buffer = new JitterBuffer({ fps: FPS, target: 0.75, most: 3 });
  for (let index = 0; index < 1000; index += 1) {
    buffer.push(block(index), index);
    assert.ok(buffer.length <= 3 * FPS);
  }
  assert.ok(buffer.clear().length > 0);
  assert.equal(buffer.length, 0);
});

test("a prompt's way is noted from sent to shown", () => {
  const book = new SwitchBook();
  book.sent("a", "a boat", 100);
  assert.equal(progress(book.all[0]), "sent");
  book.queued("a", 110);
  assert.equal(progress(book.all[0]), "accepted, waiting for its block");
  book.applied("a", 7, 300);
  assert.deepEqual(book.shown(7, 310), []);
  book.received({ sequence: 7, started_event_ids: ["a"], event_ids: ["a"] }, 320);
  assert.equal(progress(book.all[0]), "here after 220 ms, about to be shown");
  assert.deepEqual(book.shown(6, 400), []);
  assert.deepEqual(book.shown(7, 1300).map((entry) => entry.id), ["a"]);
  assert.deepEqual(book.shown(7, 1400), []);
  const { queued, applied, received, shown, sequence } = book.all[0];
  assert.deepEqual([queued, applied, received, shown, sequence], [110, 300, 320, 1300, 7]);
  assert.equal(progress(book.all[0]), "on screen after 1.2 s (here after 220 ms)");
});

test("a planned prompt has a moment, not a latency", () => {
  const book = new SwitchBook();
  book.sent("a", "a boat", 0, 12.75);
  assert.equal(progress(book.all[0]), "planned for 0:12.8");
  book.received({ sequence: 3, event_ids: ["a"] }, 10);
  book.shown(3, 9000);
  assert.equal(progress(book.all[0]), "planned for 0:12.8, seen");
});

test("later chunks of a prompt do not count, and unknown prompts are passed over", () => {
  const book = new SwitchBook();
  book.sent("a", "a boat", 0);
  book.received({ sequence: 3, event_ids: ["a", "z"] }, 10);
  book.received({ sequence: 4, event_ids: ["a"] }, 20);
  book.queued("z", 5);
  assert.deepEqual([book.all.length, book.all[0].received, book.all[0].sequence], [1, 10, 3]);
});

test("a prompt fails once, and not after it was received", () => {
  const book = new SwitchBook();
  book.sent("a", "a boat", 0);
  book.sent("b", "a hill", 0);
  book.received({ sequence: 1, event_ids: ["a"] }, 10);
  assert.equal(book.failed("a", "refused"), false);
  assert.equal(book.failed("b", "refused"), true);
  book.end("over");
  assert.deepEqual(book.all.map((entry) => entry.failure), [null, "refused"]);
  assert.equal(progress(book.all[1]), "refused");
});

test("the book keeps the newest", () => {
  const book = new SwitchBook(3);
  for (const id of ["a", "b", "c", "d"]) book.sent(id, id, 0);
  assert.deepEqual(book.all.map((entry) => entry.id), ["b", "c", "d"]);
});

test("frames a second, over the last two seconds", () => {
  const rate = new FrameRate();
  assert.equal(rate.value(0), null);
  for (let index = 0; index <= 64; index += 1) rate.add(index * 62.5);
  assert.equal(rate.value(4000), 16);
  assert.equal(rate.value(9000), null);
});

test("durations for people", () => {
  assert.deepEqual([null, undefined, 0, 840.4, 1234].map(duration), ["–", "–", "0 ms", "840 ms", "1.2 s"]);
});

test("errors are said in clear words, with what to do", () => {
  assert.equal(
    explain({ code: "capacity", message: "x", fatal: true, retryable: true, retry_after: 2.2 }),
    "All places are taken at the moment. Press Action to try again in 3 seconds.",
  );
  assert.match(explain({ code: "worker_died", message: "x", fatal: true, retryable: true }), /try again in a moment/);
  assert.match(explain({ code: "internal_error", message: "x", fatal: true }), /The take has ended/);
  assert.equal(explain({ code: "brand_new", message: "Just so.", fatal: false }), "Just so.");
});

test("a chunk may have no frames left", () => {
  assert.deepEqual(splitChunk({ sequence: 1, byte_length: 0, frames: [] }, new ArrayBuffer(0)), []);
});

test("numbers that were taken back are not missing, and chunks that are being decoded are known to be gone", () => {
  const order = new SequenceCheck();
  [0, 1, 2].forEach((number) => order.accept(number));
  order.takeBack(1, 5);
  assert.deepEqual([0, 1, 2, 3].map((number) => order.isTakenBack(number)), [false, true, true, false]);
  assert.ok(order.accept(5)); // 3 and 4 were never sent
  assert.equal(order.missing, 0);
  order.accept(7);
  assert.deepEqual([order.missing, order.duplicated], [1, 0]);
});

test("what was lost before a discard is missing all the same", () => {
  const order = new SequenceCheck();
  order.takeBack(2, 4);
  order.accept(4);
  assert.equal(order.missing, 2);
  order.lost(6); // and after a lost connection 5 and 6 cannot be sent again
  assert.ok(order.accept(7));
  assert.deepEqual([order.missing, order.last], [4, 7]);
});

test("a video that goes on from an earlier moment is shown at once", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  [0, 1, 2].forEach((index) => buffer.push(block(index), 0));
  play(buffer, 0, 1000);
  const again = block(0).map((frame) => ({ ...frame, sequence: 3 }));
  assert.equal(buffer.push(again, 1000).length, 20);
  assert.deepEqual([buffer.position(1250), buffer.underruns], [0.25, 0]);
  assert.equal(play(buffer, 1000, 3000).length, 12);
});

test("who lost a connection comes back for as long as the server keeps the session", () => {
  const comeback = new Comeback();
  assert.equal(comeback.next(0), null);
  comeback.note({ session_id: "s", resume_token: "t1", limits: { resume_grace_s: 1 } });
  assert.deepEqual([comeback.next(100), comeback.next(110), comeback.next(400)], [0, 250, 500]);
  assert.equal(comeback.next(910), null); // the next attempt would come too late
  comeback.note({ type: "session.resumed", resume_token: "t2" });
  comeback.back();
  assert.equal(comeback.lostAt, null);
  assert.equal(comeback.next(2000), 0);
  const hello = { type: "session.resume", session_id: "s", resume_token: "t2", last_sequence: 4 };
  assert.deepEqual(comeback.hello(4), hello);
  assert.ok(comeback.isRefused({ code: "session_ended" }));
  assert.ok(!comeback.isRefused({ code: "rate_limited" }));
});

test("the position goes with the clock and holds at the end of what is here", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  assert.deepEqual([buffer.position(5), buffer.ahead(5)], [0, 0]);
  buffer.push(block(0), 1000);
  assert.deepEqual([buffer.position(1500), buffer.ahead(1500)], [0.5, 0.25]);
  assert.deepEqual([buffer.position(9000), buffer.ahead(9000)], [0.75, 0]);
  buffer.push(block(1), 9000);
  assert.equal(buffer.position(9250), 1);
});

test("frames that are taken back are handed back, and others come in their place", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  [0, 1, 2].forEach((index) => buffer.push(block(index), 0));
  assert.equal(buffer.takeBack(1).length, 24);
  assert.deepEqual([buffer.position(5000), buffer.length], [0.75, 12]);
  assert.deepEqual(buffer.takeBack(1), []);
  buffer.push(block(1).map((frame) => ({ ...frame, sequence: 3 })), 100);
  assert.equal(buffer.underruns, 0);
  assert.equal(play(buffer, 0, 2000).length, 24);
});

test("a pause is no underrun, and the next late block is one again", () => {
  const buffer = new JitterBuffer({ fps: FPS });
  buffer.push(block(0), 0);
  buffer.excuseNext();
  buffer.push(block(1), 9000);
  assert.equal(buffer.underruns, 0);
  buffer.push(block(2), 19000);
  assert.equal(buffer.underruns, 1);
});

test("a prompt whose chunk is taken back before it is seen is shown with the next", () => {
  const book = new SwitchBook();
  book.sent("a", "a boat", 0);
  book.sent("b", "a hill", 0);
  book.received({ sequence: 1, event_ids: ["a"] }, 10);
  book.shown(1, 20);
  book.received({ sequence: 2, event_ids: ["b"] }, 30);
  book.takeBack(1);
  assert.deepEqual(book.all.map((entry) => entry.received), [10, null]);
  assert.deepEqual(book.shown(3, 40), []);
  book.received({ sequence: 4, event_ids: ["b"] }, 50);
  assert.deepEqual(book.shown(4, 60).map((entry) => entry.id), ["b"]);
});

test("waiting, statistics and shutting down are said in clear words", () => {
  assert.equal(waiting({ position: 1, waiting: 3 }), "All places are taken. This take is next.");
  assert.match(waiting({ position: 2, waiting: 3 }), /number 2 of 3 that wait/);
  assert.deepEqual([figure(15.96), figure(0.75, " s"), figure(null)], ["16.0", "0.8 s", "–"]);
  assert.match(draining({ deadline_seconds: 4.2 }), /ends in at most 5 seconds/);
  assert.match(draining({ deadline_seconds: 0 }), /ends now/);
});
