// The grammar of a timeline, as pipelines/core/timeline.py reads it; tests/timeline_cases.json holds the two together.

/**
 * One event and where its words are in its line.
 * @typedef {object} TimelineEvent
 * @property {number} when seconds
 * @property {string} what
 * @property {string} where one of PLACES
 * @property {boolean} heard
 * @property {boolean} seen
 * @property {Word[]} words the words of the event: when, what, where, and the mark if there is one
 *
 * @typedef {{text: string, from: number, to: number}} Word a word and its range in the line
 */

/**
 * What the editor needs to know of a kind of line.
 * @typedef {object} Grammar
 * @property {boolean} places whether events have a place
 * @property {(line: string) => TimelineEvent | null} read
 * @property {(line: string, changes: import("./text.js").Changes) => string} rewrite the line with changed words
 * @property {(event: NewEvent) => string} write
 * @property {(what: string) => string} nameFault what is wrong with a name; empty if nothing is
 * @property {(line: string) => string} comment the comment behind an event
 * @property {(number: number, line: string, error: Error) => string} message what the node says about a line that is not an event
 * @property {number} most events
 * @property {string} tooMany
 *
 * @typedef {{when: number, what: string, where: string, heard: boolean, seen: boolean, end?: number | null, strength?: number}} NewEvent
 */

export const PLACES = ["left", "middle", "right"];
const EXPECTED = "Expected: seconds, what, where, and optionally 'silent' or 'unseen', e.g. '0.35 bell left'.";
const MARKS = new Map([
  ["", { heard: true, seen: true }],
  ["silent", { heard: false, seen: true }],
  ["unseen", { heard: true, seen: false }],
]);
// Python's \s has four control characters and U+0085 that JavaScript's lacks, and lacks U+FEFF.
const WORD = /[^\s\x1c-\x1f\x85]+/g;
const SECONDS = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;
const LONGEST = 40;

/** A line that is not an event; the message is the one that the node shows. */
export class LineError extends Error {}

/** @param {string} text @returns {Word[]} */
export function wordsOf(text) {
  return [...text.matchAll(WORD)].map((m) => ({ text: m[0], from: m.index, to: m.index + m[0].length }));
}

/** A text in quotes, cut if it is long. @param {string} text */
export function quoted(text) {
  const letters = Array.from(text);
  return letters.length <= LONGEST ? `'${text}'` : `'${letters.slice(0, LONGEST).join("")}...'`;
}

/**
 * The event of one line; null if there is nothing before a '#'.
 * @param {string} line
 * @returns {TimelineEvent | null}
 * @throws {LineError} the line is not an event
 */
export function readLine(line) {
  const words = wordsOf(line.split("#", 1)[0]);
  if (words.length === 0) return null;
  if (words.length < 3) {
    throw new LineError(`${quoted(words.at(-1).text)} is the last word, but three are needed.`);
  }
  const [when, what, where, ...marks] = words.map((word) => word.text);
  if (!(SECONDS.test(when) && Number(when) >= 0 && Number(when) < Infinity)) {
    throw new LineError(`The time of an event is ${quoted(when)}; it must be a number of seconds, 0 or more.`);
  }
  if (!PLACES.includes(where)) {
    throw new LineError(`The place of an event is ${quoted(where)}; it must be one of ${PLACES.join(", ")}.`);
  }
  const flags = MARKS.get(marks[0] ?? "");
  if (!flags) throw new LineError(`After the place there may be 'silent' or 'unseen', not ${quoted(marks[0])}.`);
  if (marks.length > 1) throw new LineError(`${quoted(marks[1])} is one word too many.`);
  return { when: Number(when), what, where, ...flags, words };
}

/** A time as text: at least two decimals, three if they are needed. @param {number} seconds */
export function formatTime(seconds) {
  return seconds.toFixed(3).replace(/0$/, "");
}

/** @param {string} body @param {{from: number, to: number}} range @param {string} text */
function replaced(body, range, text) {
  return body.slice(0, range.from) + text + body.slice(range.to);
}

/** The mark of an event that is heard, seen or both. @param {boolean} heard @param {boolean} seen */
const markOf = (heard, seen) => (heard && seen ? "" : seen ? "silent" : "unseen");

/** @param {string} body an event @param {import("./text.js").Changes} changes @throws {RangeError} the result would not be an event */
function rewrite(body, changes) {
  const event = readLine(body);
  const after = { ...event, ...changes };
  if (!after.heard && !after.seen) throw new RangeError("An event must be heard or seen. Mute or remove it instead.");
  const fault = PLAN.nameFault(after.what);
  if (fault) throw new RangeError(fault);
  if (!PLACES.includes(after.where)) throw new RangeError(`The place must be one of ${PLACES.join(", ")}.`);
  if (!(after.when >= 0 && after.when < Infinity)) throw new RangeError("The time must be 0 seconds or later.");
  const [when, what, where, mark] = event.words;
  const wanted = markOf(after.heard, after.seen);
  // From right to left, so that the ranges of the words stay valid.
  if (mark && wanted) body = replaced(body, mark, wanted);
  else if (mark) body = replaced(body, { from: where.to, to: mark.to }, "");
  else if (wanted) body = replaced(body, { from: where.to, to: where.to }, ` ${wanted}`);
  if (after.where !== event.where) body = replaced(body, where, after.where);
  if (after.what !== event.what) body = replaced(body, what, after.what);
  if (after.when !== event.when) body = replaced(body, when, formatTime(after.when));
  return body;
}

/** The grammar of plans. @type {Grammar} */
export const PLAN = {
  places: true,
  read: readLine,
  rewrite,
  write: ({ when, what, where, heard, seen }) => [formatTime(when), what, where, markOf(heard, seen)].filter(Boolean).join(" "),
  nameFault: (what) => (wordsOf(what).length === 1 && !/[\s#]/.test(what) ? "" : "Enter the name of the event: one word without '#'."),
  comment: (body) => body.slice(body.includes("#") ? body.indexOf("#") : body.length),
  message(number, line, error) {
    const shown = quoted(wordsOf(line).map((word) => word.text).join(" "));
    return `Line ${number} of the timeline, ${shown}: ${error.message} ${EXPECTED}`;
  },
  most: Infinity,
  tooMany: "",
};
