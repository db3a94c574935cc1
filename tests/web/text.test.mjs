import assert from "node:assert/strict";
import { test } from "node:test";
import { TimelineText } from "../../web/editor/text.js";

const ARTIST = "# my song\r\n 0.5   dog\tleft silent # barks\r\n0.5 dog top\r\n0.7 cat right silentt\r\n\r\n1 bell  middle";
const after = (text, line, changes) => new TimelineText(text).edited([[line, changes]]);

test("reading changes nothing", () => {
  for (const text of [ARTIST, "", "\n", "a\r\rb\n\r\n", "\n\n0 a left"]) assert.equal(String(new TimelineText(text)), text);
});

test("lines that are not events are kept and reported", () => {
  const { events, problems } = new TimelineText(ARTIST);
  assert.deepEqual(events.map((event) => event.line), [1, 5]);
  assert.deepEqual(problems.map((problem) => problem.line), [2, 3]);
});

test("an edit changes the words of its line and no other byte", () => {
  assert.equal(after(ARTIST, 1, { when: 0.75 }), ARTIST.replace(" 0.5   dog", " 0.75   dog"));
  assert.equal(after(ARTIST, 1, { heard: true }), ARTIST.replace("left silent #", "left #"));
  assert.equal(after(ARTIST, 1, { heard: true, seen: false }), ARTIST.replace("left silent #", "left unseen #"));
  assert.equal(after(ARTIST, 5, { where: "right", what: "gong" }), ARTIST.replace("1 bell  middle", "1 gong  right"));
  assert.equal(after(ARTIST, 5, { heard: false }), `${ARTIST} silent`);
});

test("an edit that changes no value changes no byte", () => {
  assert.equal(after(ARTIST, 1, { when: 0.5, what: "dog", where: "left", heard: false, seen: true }), ARTIST);
});

test("several events are edited at once", () => {
  const text = new TimelineText("0 a left\n1 b left\n2 c left").edited([[0, { when: 0.5 }], [2, { when: 2.5 }]]);
  assert.equal(text, "0.50 a left\n1 b left\n2.50 c left");
});

test("a muted event is a comment, and unmuting restores the line", () => {
  const muted = after(ARTIST, 1, { muted: true });
  assert.equal(muted, ARTIST.replace(" 0.5   dog", "#  0.5   dog"));
  const again = new TimelineText(muted);
  assert.equal(again.at(1).muted, true);
  assert.equal(again.edited([[1, { muted: false }]]), ARTIST);
  assert.equal(after(muted, 1, { when: 0.75 }), muted.replace("0.5 ", "0.75 "));
});

test("an artist's own comment is not an event", () => {
  assert.deepEqual(new TimelineText("# 0.5 is when it starts\n#\n##").events, []);
});

test("removing an event keeps the comment behind it", () => {
  const read = new TimelineText(ARTIST);
  assert.equal(read.without([1]), ARTIST.replace(" 0.5   dog\tleft silent ", ""));
  assert.equal(read.without([5]), ARTIST.replace("1 bell  middle", ""));
});

test("a new event is put after the last earlier one", () => {
  const add = (text, when) => new TimelineText(text).with([{ when, what: "x", where: "left", heard: true, seen: true }]);
  assert.deepEqual(add("", 1), { text: "1.00 x left", added: [0] });
  assert.deepEqual(add("# a\n2 b left\n", 1), { text: "# a\n1.00 x left\n2 b left\n", added: [1] });
  assert.deepEqual(add("# a\r\n2 b left", 3), { text: "# a\r\n2 b left\r\n3.00 x left", added: [2] });
  assert.deepEqual(add("0 a left\n\n# end\n4 b left\n", 3), { text: "0 a left\n3.00 x left\n\n# end\n4 b left\n", added: [1] });
});

test("many events are added in order of time", () => {
  const events = [2, 0.5, 1].map((when) => ({ when, what: "x", where: "left", heard: true, seen: when !== 1 }));
  const { text, added } = new TimelineText("1 a left\n").with(events);
  assert.equal(text, "0.50 x left\n1 a left\n1.00 x left unseen\n2.00 x left\n");
  assert.deepEqual(added, [0, 2, 3]);
});

test("a change that would not be an event is refused", () => {
  const wrong = [{ heard: false, seen: false }, { what: "two words" }, { what: "" }, { what: "a#b" }, { where: "top" }, { when: -1 }, { when: NaN }];
  for (const changes of wrong) assert.throws(() => after("0 a left", 0, changes), RangeError);
});

test("ten thousand events are read and added in less than a second each", () => {
  const events = Array.from({ length: 10_000 }, (_, k) => ({ when: k / 100, what: `w${k % 7}`, where: "left", heard: true, seen: true }));
  const start = performance.now();
  const { text } = new TimelineText("").with(events);
  const read = performance.now();
  assert.equal(new TimelineText(text).events.length, 10_000);
  assert.ok(read - start < 1000 && performance.now() - read < 1000);
});
