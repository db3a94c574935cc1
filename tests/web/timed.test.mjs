// The table tests/timed_cases.json is also read by tests/pipelines/core/test_timed_cases.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { TimelineText } from "../../web/editor/text.js";
import { TIMED } from "../../web/editor/timed.js";

const cases = JSON.parse(readFileSync(new URL("../timed_cases.json", import.meta.url), "utf8"));
const after = (text, line, changes) => new TimelineText(text, TIMED).edited([[line, changes]]);
const TEXT = "# storm\n0.5-1.2  both : a door: slams\n2.3 audio 0.8:  thunder  # loud\n0.35 bell left  # a plan's line\n4: 4\n";

for (const { name, text, events, error } of cases) {
  test(`as in Python: ${name}`, () => {
    const read = new TimelineText(text, TIMED);
    if (error) return assert.equal(read.problems[0].message, error);
    assert.deepEqual(read.problems, []);
    const found = read.events.filter((event) => !event.muted);
    assert.deepEqual(found.map((e) => [e.when, e.end, e.what, e.heard, e.seen, e.strength]), events);
  });
}

test("an edit changes the words of its line and no other byte", () => {
  assert.equal(after(TEXT, 1, { when: 1 }), TEXT.replace("0.5-1.2", "1.00-1.70"));
  assert.equal(after(TEXT, 1, { heard: false }), TEXT.replace("  both :", "  video :"));
  assert.equal(after(TEXT, 2, { seen: true, when: 2 }), TEXT.replace("2.3 audio 0.8:", "2.00 both 0.8:"));
  assert.equal(after(TEXT, 2, { what: "a $& crash" }), TEXT.replace("thunder  # loud", () => "a $& crash"));
  assert.equal(after(TEXT, 4, { when: 3, what: "four", seen: false }), TEXT.replace("4: 4", "3.00 audio: four"));
  assert.equal(after(TEXT, 3, { when: 0.5 }), TEXT.replace("0.35 bell", "0.50 bell"));
  assert.equal(after(TEXT, 1, { when: 0.5, heard: true, seen: true, what: "a door: slams" }), TEXT);
});

test("removing a line removes its text, and a plan's line keeps its comment", () => {
  const read = new TimelineText(TEXT, TIMED);
  assert.equal(read.without([2]), TEXT.replace("2.3 audio 0.8:  thunder  # loud\n", ""));
  assert.equal(read.without([3]), TEXT.replace("0.35 bell left  #", "#"));
});

test("a written event is read as the same event", () => {
  for (const event of [{ when: 1, what: "x y", heard: true, seen: true }, { when: 1, end: 2, what: "x", heard: true, seen: false, strength: 0.5 }]) {
    const [back] = new TimelineText(TIMED.write(event), TIMED).events;
    assert.deepEqual({ ...event, end: event.end ?? null, strength: event.strength ?? 1 }, { when: back.when, what: back.what, heard: back.heard, seen: back.seen, end: back.end, strength: back.strength });
  }
});

test("more events than the node accepts are kept and reported", () => {
  const read = new TimelineText("1: x\n".repeat(1001), TIMED);
  assert.deepEqual([read.events.length, read.problems.map((problem) => problem.line)], [1000, [1000]]);
});

test("a change that would not be an event is refused", () => {
  for (const changes of [{ when: -1 }, { when: 3600 }, { what: " " }, { what: "a\nb" }, { heard: false, seen: false }]) {
    assert.throws(() => after(TEXT, 1, changes), RangeError);
  }
});
