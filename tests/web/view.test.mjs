import assert from "node:assert/strict";
import { test } from "node:test";
import { clipSeconds, described, eventsAt, lanesOf, nudged, rulerLabel, rulerStep, snapped } from "../../web/editor/view.js";

const free = { step: 0, points: [] };
const grid = { step: 0.25, points: [] };
const beats = { step: 0, points: [0.52, 1.03, 1.55] };

test("there is one lane for each subject, in the order of the text, with colours of their own", () => {
  const lanes = lanesOf(["b", "a", "b", "c"].map((what) => ({ what })));
  assert.deepEqual(lanes.map((lane) => [lane.what, lane.events.length]), [["b", 2], ["a", 1], ["c", 1]]);
  assert.equal(new Set(lanes.map((lane) => lane.colour)).size, 3);
});

test("the length is the node's, or the shortest usual one that holds all events", () => {
  assert.equal(clipSeconds(7.5, [{ when: 9 }]), 7.5);
  assert.deepEqual([0, 1.9, 2, 5, 19.9, 99].map((when) => clipSeconds(null, [{ when }])), [2, 2, 5, 10, 20, 100]);
});

test("times snap to the grid or to the nearest beat", () => {
  assert.deepEqual([0.1, 0.13, 0.9].map((time) => snapped(time, grid)), [0, 0.25, 1]);
  assert.deepEqual([0, 0.8, 9].map((time) => snapped(time, beats)), [0.52, 1.03, 1.55]);
  assert.equal(snapped(0.12345, free), 0.123);
});

test("a nudge goes to the next line of the grid, or to the next beat", () => {
  assert.deepEqual([[0.3, 1], [0.3, -1], [0.25, -1], [0.25, 4], [0, -1]].map(([t, n]) => nudged(t, n, grid)), [0.5, 0.25, 0, 1.25, 0]);
  assert.deepEqual([[0.6, 1], [0.6, -1], [0.52, 2], [2, 1]].map(([t, n]) => nudged(t, n, beats)), [1.03, 0.52, 1.55, 2]);
  assert.equal(nudged(0.5, 1, free), 0.501);
});

test("the ruler has round steps that do not crowd", () => {
  assert.deepEqual([1000, 110, 54, 20, 1].map((pixels) => rulerStep(pixels)), [0.1, 0.5, 2, 5, 100]);
  assert.deepEqual([rulerLabel(0.5, 0.1), rulerLabel(5, 5), rulerLabel(0.05, 0.05)], ["0.5 s", "5 s", "0.05 s"]);
});

test("an event is described in words", () => {
  const event = { when: 0.3, what: "bell", where: "left", heard: true, seen: true, muted: false, words: [{}] };
  assert.equal(described(event), "bell at 0.3 seconds, left, seen and heard");
  assert.equal(described({ ...event, heard: false, muted: true }), "bell at 0.3 seconds, left, seen, silent, muted");
  assert.equal(described({ ...event, what: "a door slams", end: 1.25, words: [] }), "a door slams at 0.3 to 1.25 seconds, seen and heard");
  assert.equal(described({ ...event, seen: false }), "bell at 0.3 seconds, left, heard, not seen");
});

test("beats become events once", () => {
  const present = [{ when: 0.5, what: "bell" }, { when: 1, what: "dog" }];
  assert.deepEqual(eventsAt([0.503, 1, 1.5], "bell", present).map((event) => event.when), [1, 1.5]);
});
