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

/** @param {string} text */
function quoted(text) {
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

/**
 * What the node says about a line that is not an event.
 * @param {number} number counted from 1
 * @param {string} line
 * @param {Error} error
 */
export function lineMessage(number, line, error) {
  const shown = quoted(wordsOf(line).map((word) => word.text).join(" "));
  return `Line ${number} of the timeline, ${shown}: ${error.message} ${EXPECTED}`;
}

/** The mark of an event that is heard, seen or both. @param {boolean} heard @param {boolean} seen */
export function markOf(heard, seen) {
  return heard && seen ? "" : seen ? "silent" : "unseen";
}

/** A time as text: at least two decimals, three if they are needed. @param {number} seconds */
export function formatTime(seconds) {
  return seconds.toFixed(3).replace(/0$/, "");
}

/**
 * An event as a line.
 * @param {{when: number, what: string, where: string, heard: boolean, seen: boolean}} event
 */
export function writeLine({ when, what, where, heard, seen }) {
  return [formatTime(when), what, where, markOf(heard, seen)].filter(Boolean).join(" ");
}
