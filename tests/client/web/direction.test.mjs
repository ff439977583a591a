// Scripts, the quality ladder, the timeline's scale: without a page. Run by `make test-system`, which lays the modules out as node reads them:
// WEB_MODULES=folder node --test tests/client/web/

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { test } from "node:test";

const from = (name) => import(new URL(name, pathToFileURL(`${process.env.WEB_MODULES}/`)).href);
const { Script, fromJson, toJson, wording } = await from("script.js");
const { CALM, Ladder, STEPS, chooseFormat } = await from("ladder.js");
const { Scale } = await from("strip.js");
const { advice, ago, timecode } = await from("words.js");
const { SequenceCheck, Comeback } = await from("wire.js");

const say = (id, at, planned = true) => (
  { id, at, prompts: [{ text: id, weight: 1 }], mode: "recache", transition: 0, planned });

/** A script that began with `first`, and has come to `seconds` under `ids`. */
function begun() {
  const script = new Script();
  script.add(say("first", 0, false));
  script.reached(0, ["first"]);
  return script;
}

test("a planned prompt is sent when the video comes near it, once", () => {
  const script = begun();
  script.add(say("b", 6));
  script.add(say("a", 3));
  assert.deepEqual(script.cues.map((cue) => cue.id), ["a", "b"]);
  assert.deepEqual([script.due(2.9).length, script.due(3).map((cue) => cue.id), script.due(4).length], [0, ["a"], 0]);
});

test("what was sent can no longer be moved; what was not can, and never before the beginning", () => {
  const script = begun();
  script.add(say("a", 3));
  assert.ok(script.move("a", -5));
  assert.equal(script.find("a").at, 0);
  script.due(10);
  assert.deepEqual([script.move("a", 4), script.move("nobody", 4)], [false, false]);
});

test("a prompt is in the past from the chunk that was made under it", () => {
  const script = begun();
  script.add(say("now", 1.5, false));
  script.reached(1.5, ["now"]);
  script.reached(2.25, ["now"]);
  assert.deepEqual(script.past.map(({ id, at }) => [id, at]), [["first", 0], ["now", 1.5]]);
  assert.deepEqual([script.cues.length, script.at(1).id, script.at(1.5).id], [0, "first", "now"]);
});

test("a prompt that is taken back before it was seen comes again with its next chunk", () => {
  const script = begun();
  script.add(say("now", 1.5, false));
  script.reached(1.5, ["now"]);
  script.reached(0.75, ["first"]); // a pause took back what nobody had seen
  assert.deepEqual([script.past.length, script.cues.map((cue) => [cue.id, cue.sent])], [1, [["now", true]]]);
  script.reached(1.5, ["now"]);
  assert.deepEqual([script.past.map((change) => change.id), script.cues.length], [["first", "now"], 0]);
});

test("after a rewind what was said on the spot is gone, and what was planned is planned again", () => {
  const script = begun();
  script.add(say("planned", 1.5));
  script.due(9);
  script.reached(1.5, ["planned"]);
  script.add(say("spot", 3, false));
  script.reached(3, ["spot"]);
  script.rewound(0.75, () => "fresh");
  assert.deepEqual(script.past.map((change) => change.id), ["first"]);
  assert.deepEqual(script.cues.map(({ id, at, sent }) => [id, at, sent]), [["fresh", 1.5, false]]);
  script.rewound(0, () => "no");
  assert.equal(script.past.length, 1); // what a take begins with stays
});

test("a script goes out as JSON and comes back the same", () => {
  const blend = { id: "x", at: 2.5, prompts: [{ text: "a", weight: 0.25 }, { text: "b", weight: 0.75 }], mode: "flush", transition: 4, planned: true };
  const text = toJson([blend, say("first", 0)], { model: "demo", size: "96x96", seed: 7, seconds: 9 });
  const { changes, seed, seconds } = fromJson(text);
  assert.deepEqual([seed, seconds, changes.map(({ at }) => at)], [7, 9, [0, 2.5]]);
  assert.deepEqual(changes[1], { ...blend, id: "" });
  assert.equal(wording(blend.prompts), "25% a + 75% b");
  assert.equal(fromJson('[{"prompt": "a", "mode": "cut", "transition": 4}]').changes[0].transition, 0);
});

test("the prompts of batch jobs are read too", () => {
  const { changes } = fromJson('{"prompts": [{"at": 3, "prompt": "b"}, {"prompt": "a"}], "seconds": "8"}');
  assert.deepEqual(changes.map(({ at, prompts, mode }) => [at, prompts[0].text, mode]), [[0, "a", "recache"], [3, "b", "recache"]]);
});

test("a file that is no script is refused with what is wrong", () => {
  const refused = { "{": /no JSON/, "{}": /no list of prompts/, '[{"prompt": " "}]': /Prompt 1 says nothing/ };
  refused['[{"prompt": "a", "at": -1}]'] = /Prompt 1 has no second/;
  refused['[{"prompt": "a", "mode": "melt"}]'] = /unknown mode melt/;
  refused['[{"prompts": [{"text": "a", "weight": -1}]}]'] = /wrong weight/;
  for (const [text, why] of Object.entries(refused)) assert.throws(() => fromJson(text), why);
});

test("the ladder goes down when media is on its way too long, and slowly up again", () => {
  const ladder = new Ladder();
  const late = { lead: 3, ahead: 0.5 };
  assert.deepEqual([ladder.look(late), ladder.look(late), ladder.look(late), ladder.look(late)], [null, STEPS[1], null, STEPS[2]]);
  const calm = Array.from({ length: CALM }, () => ladder.look({ lead: 0.7, ahead: 0.6 }));
  assert.deepEqual(calm.filter((one) => one !== null), [STEPS[1]]);
  for (let index = 0; index < 50; index += 1) ladder.look(late);
  assert.deepEqual([ladder.quality, ladder.narrow], [STEPS.at(-1), true]);
});

test("a slow machine is no reason for worse pictures", () => {
  const ladder = new Ladder();
  for (let index = 0; index < 50; index += 1) assert.equal(ladder.look({ lead: 0.1, ahead: 0 }), null);
});

test("film is chosen where the link is narrow and the browser plays it", () => {
  const facts = { choice: "auto", film: true, narrow: false, saveData: false, megabits: null, pixels: 832 * 480 };
  assert.equal(chooseFormat(facts), "jpeg");
  for (const change of [{ narrow: true }, { saveData: true }, { megabits: 3 }, { choice: "m4s" }]) {
    assert.equal(chooseFormat({ ...facts, ...change }), "m4s");
    assert.equal(chooseFormat({ ...facts, ...change, film: false }), "jpeg");
  }
  assert.equal(chooseFormat({ ...facts, megabits: 100 }), "jpeg");
});

test("the timeline follows the picture, and its ruler has round seconds", () => {
  const scale = new Scale();
  scale.follow(5);
  assert.deepEqual([scale.start, scale.share(12), scale.seconds(0.5)], [0, 0.5, 12]);
  scale.follow(100);
  assert.equal(Math.round(scale.share(100) * 100), 60);
  assert.ok(scale.ticks(0.1).every((at) => at % 5 === 0 && at >= scale.start && at < scale.start + scale.span));
  scale.zoom(1e9, 0);
  scale.zoom(1e-9, 0);
  assert.equal(scale.span, 6);
});

test("times for people", () => {
  assert.deepEqual([0, 7.26, 59.96, 754].map((one) => timecode(one)), ["0:00.0", "0:07.3", "1:00.0", "12:34.0"]);
  assert.equal(timecode(65.4, 0), "1:05");
  assert.deepEqual([0, 59, 60, 7300, 90000].map((one) => ago(0, one)), ["just now", "just now", "a minute ago", "2 hours ago", "a day ago"]);
});

test("unknown words are told kindly", () => {
  assert.match(advice({ code: "words_unknown", message: "No word for zeppelin." }), /Try a word from the suggestions/);
  assert.match(advice({ code: "prompt_truncated", message: "x", kept_characters: 40 }), /first 40 characters/);
  assert.equal(advice({ code: "else", message: "Just so." }), "Just so.");
});

test("after a reload the take goes on behind the last chunk that was seen", () => {
  const order = new SequenceCheck();
  order.begin(4);
  assert.deepEqual([order.accept(4), order.accept(5), order.missing], [false, true, 0]);
  const comeback = new Comeback();
  comeback.note({ session_id: "s", resume_token: "t" });
  assert.deepEqual(comeback.hello(null), { type: "session.resume", session_id: "s", resume_token: "t" });
});
