// The grammar of timed events, as pipelines/core/timed_events.py reads it: a time or a range, a stream, a strength, ':' and a text.
// Lines of a plan are read too.
import { PLAN, LineError, formatTime, quoted, readLine, wordsOf } from "./grammar.js";

/** @typedef {import("./grammar.js").TimelineEvent} TimelineEvent */

const STREAMS = { both: { heard: true, seen: true }, video: { heard: false, seen: true }, audio: { heard: true, seen: false } };
const [MAX_EVENTS, MAX_SECONDS] = [1000, 3600];
const AFTER = 0.14; // seconds that an event with only one time holds after it
const TIME = String.raw`[0-9]+\.?[0-9]*|\.[0-9]+`;
const BLANK = String.raw`[\s\x1c-\x1f\x85]`;
const HEAD = new RegExp(
  `^${BLANK}*(?<start>${TIME})(?:${BLANK}*[-\u2013]${BLANK}*(?<end>${TIME}))?(?:${BLANK}+(?<stream>[A-Za-z]+))?` +
    `(?:${BLANK}+(?<strength>[^\\s\\x1c-\\x1f\\x85]+))?${BLANK}*$`,
  "du",
);
const NUMBER = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;
const EXAMPLE = "'0.5-1.2 both: a door slams' or '1.3 audio 0.8: thunder'";

/** @param {string} text */
function numberOf(text) {
  if (!NUMBER.test(text) || !Number.isFinite(Number(text))) throw new LineError(`${quoted(text)} is not a number in range.`);
  return Number(text);
}

/** A number with at most six digits. @param {number} value */
const short = (value) => String(Number(value.toPrecision(6)));

/** @param {string} line @returns {TimelineEvent | null} */
function planned(line) {
  try {
    return readLine(line);
  } catch {
    return null;
  }
}

/** @param {string} line @returns {(TimelineEvent & {end: number | null, strength: number}) | null} @throws {LineError} */
function read(line) {
  if (!wordsOf(line).length || wordsOf(line)[0].text.startsWith("#")) return null;
  const colon = line.indexOf(":");
  const plan = colon < 0 && planned(line);
  const late = `times must be from 0 to ${MAX_SECONDS} seconds.`;
  if (plan && plan.when + AFTER > MAX_SECONDS) throw new LineError(late);
  if (plan) return { ...plan, end: null, strength: 1 };
  const groups = colon < 0 ? undefined : line.slice(0, colon).match(HEAD)?.groups;
  if (!groups) throw new LineError(`expected a time or a range in seconds, the stream, a colon and a text, e.g. ${EXAMPLE}.`);
  const { stream = "both" } = groups;
  if (!Object.hasOwn(STREAMS, stream)) throw new LineError(`the stream is ${quoted(stream)}; it must be both, video or audio.`);
  const strength = groups.strength === undefined ? 1 : numberOf(groups.strength);
  const when = numberOf(groups.start);
  const end = groups.end === undefined ? null : numberOf(groups.end);
  if (when > MAX_SECONDS || (end ?? when + AFTER) > MAX_SECONDS) throw new LineError(late);
  if (end !== null && end <= when) {
    throw new LineError(`the event ends at ${short(end)} s and starts at ${short(when)} s; it must end after it starts.`);
  }
  const what = wordsOf(line.slice(colon + 1));
  if (!what.length) throw new LineError("the text after the colon is empty. Describe what happens.");
  if (!(strength > 0 && strength <= 1)) throw new LineError("the strength must be above 0 and at most 1.");
  const range = { from: colon + 1 + what[0].from, to: colon + 1 + what.at(-1).to };
  return { when, end, what: line.slice(range.from, range.to), where: "middle", ...STREAMS[stream], strength, words: [] };
}

/** @param {boolean} heard @param {boolean} seen */
const streamOf = (heard, seen) => (heard && seen ? "both" : seen ? "video" : "audio");

/** @param {string} body @param {import("./text.js").Changes} changes @returns {string} @throws {RangeError} */
function rewrite(body, changes) {
  const colon = body.indexOf(":");
  if (colon < 0) return PLAN.rewrite(body, changes);
  const event = read(body);
  const after = { ...event, ...changes };
  if (!after.heard && !after.seen) throw new RangeError("An event must be heard or seen. Mute or remove it instead.");
  const fault = TIMED.nameFault(after.what);
  if (fault) throw new RangeError(fault);
  const end = event.end === null ? null : event.end + after.when - event.when;
  if (!(after.when >= 0 && (end ?? after.when + AFTER) <= MAX_SECONDS)) throw new RangeError(`The time must be from 0 to ${MAX_SECONDS} seconds.`);
  const { indices } = body.slice(0, colon).match(HEAD);
  // From right to left, so that the positions stay valid.
  if (after.what !== event.what) body = body.slice(0, colon + 1) + body.slice(colon + 1).replace(event.what, () => after.what);
  const put = ([from, to], text) => (body = body.slice(0, from) + text + body.slice(to));
  const stream = streamOf(after.heard, after.seen);
  const times = (indices.groups.end ?? indices.groups.start)[1];
  if (indices.groups.stream) put(indices.groups.stream, stream);
  else if (stream !== "both") put([times, times], ` ${stream}`);
  if (after.when === event.when) return body;
  if (end !== null) put(indices.groups.end, formatTime(end));
  return put(indices.groups.start, formatTime(after.when));
}

/** @type {import("./grammar.js").Grammar} */
export const TIMED = {
  places: false,
  read,
  rewrite,
  write({ when, what, heard, seen, end = null, strength = 1 }) {
    const range = end === null ? "" : `-${formatTime(end)}`;
    const how = heard && seen && strength === 1 ? "" : ` ${streamOf(heard, seen)}${strength === 1 ? "" : ` ${strength}`}`;
    return `${formatTime(when)}${range}${how}: ${what}`;
  },
  nameFault: (what) => (wordsOf(what).length && !/[\r\n]/.test(what) ? "" : "Enter a text: what happens."),
  comment: (body) => (body.includes(":") ? "" : PLAN.comment(body)),
  message: (number, line, error) => `Line ${number} of the timed events, ${quoted(wordsOf(line).map((w) => w.text).join(" "))}: ${error.message}`,
  most: MAX_EVENTS,
  tooMany: `at most ${MAX_EVENTS} events are supported. Remove this line and the lines below it.`,
};
