// The table tests/timeline_cases.json is also read by tests/pipelines/core/test_timeline.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { PLAN, formatTime, readLine } from "../../web/editor/grammar.js";
import { TimelineText } from "../../web/editor/text.js";

const cases = JSON.parse(readFileSync(new URL("../timeline_cases.json", import.meta.url), "utf8"));
const order = (a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1);

for (const { name, text, events, error } of cases) {
  test(`as in Python: ${name}`, () => {
    const read = new TimelineText(text);
    if (error) return assert.equal(read.problems[0].message, error);
    assert.deepEqual(read.problems, []);
    const found = read.events.filter((event) => !event.muted);
    assert.deepEqual(found.map((e) => [e.when, e.what, e.where, e.heard, e.seen]).sort(order), events);
  });
}

test("a 400-digit number is refused in few words", () => {
  const [problem] = new TimelineText(`${"9".repeat(400)} bell left`).problems;
  assert.match(problem.message, /it must be a number of seconds/);
  assert.ok(problem.message.length < 350);
});

test("a written event is read as the same event", () => {
  for (const when of [0, 0.3, 0.35, 1.234, 600]) {
    const event = { when, what: "bell", where: "right", heard: false, seen: true };
    const { words, ...back } = readLine(PLAN.write(event));
    assert.deepEqual(back, event);
    assert.equal(words.length, 4);
  }
});

test("times have two decimals, or three if they are needed", () => {
  assert.deepEqual([0, 0.5, 0.125, 12.3456].map(formatTime), ["0.00", "0.50", "0.125", "12.346"]);
});
