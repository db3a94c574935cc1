// A timeline's text as lines that can be edited one at a time. An edit replaces words of one line; every other byte stays.
import { PLACES, formatTime, lineMessage, markOf, readLine, wordsOf, writeLine } from "./grammar.js";

/**
 * @typedef {import("./grammar.js").TimelineEvent} TimelineEvent
 * @typedef {TimelineEvent & {line: number, muted: boolean}} PlacedEvent an event, its line (from 0), and whether '#' disables it
 * @typedef {{line: number, message: string}} Problem a line that is not an event
 * @typedef {Partial<{when: number, what: string, where: string, heard: boolean, seen: boolean, muted: boolean}>} Changes
 */

const MUTED = /^(\s*)#\s?(.*)$/su;

/** Lines with their line ends, so that joining them gives the text again. @param {string} text */
function linesOf(text) {
  return text.match(/[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+$/g) ?? [];
}

/** @param {string} line */
function split(line) {
  const end = line.match(/[\r\n]*$/)[0];
  return { body: line.slice(0, line.length - end.length), end };
}

/** The event behind a '#', e.g. of '# 0.35 bell left'. @param {string} body @returns {TimelineEvent | null} */
function mutedEvent(body) {
  const found = body.match(MUTED);
  try {
    return found && readLine(found[2]);
  } catch {
    return null; // an ordinary comment
  }
}

/** @param {string} body @param {{from: number, to: number}} range @param {string} text */
function replaced(body, range, text) {
  return body.slice(0, range.from) + text + body.slice(range.to);
}

/** @param {string} body an event @param {Changes} changes */
function rewritten(body, changes) {
  const event = readLine(body);
  const after = { ...event, ...changes };
  if (!after.heard && !after.seen) throw new RangeError("An event must be heard or seen. Mute or remove it instead.");
  if (wordsOf(after.what).length !== 1 || after.what.includes("#")) {
    throw new RangeError("The name of an event must be one word without '#'.");
  }
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

export class TimelineText {
  /** @param {string} text */
  constructor(text) {
    this.lines = linesOf(text);
    /** @type {PlacedEvent[]} */
    this.events = [];
    /** @type {Problem[]} */
    this.problems = [];
    this.lines.forEach((whole, line) => {
      const { body } = split(whole);
      try {
        const event = readLine(body);
        const muted = event ? null : mutedEvent(body);
        if (event ?? muted) this.events.push({ ...(event ?? muted), line, muted: !event });
      } catch (error) {
        this.problems.push({ line, message: lineMessage(line + 1, body, error) });
      }
    });
  }

  toString() {
    return this.lines.join("");
  }

  /** @param {number} line @returns {PlacedEvent | undefined} */
  at(line) {
    return this.events.find((event) => event.line === line);
  }

  /**
   * The text with changed events.
   * @param {Iterable<[number, Changes]>} edits line and changes
   * @throws {RangeError} a change that would not be an event
   */
  edited(edits) {
    const lines = [...this.lines];
    for (const [line, changes] of edits) {
      const { body, end } = split(lines[line]);
      const muted = body.match(MUTED);
      const [, indent, hidden] = muted ?? ["", "", body];
      const event = rewritten(hidden, changes);
      const before = muted ? body.slice(0, body.length - hidden.length) : "";
      const mute = changes.muted ?? Boolean(muted);
      lines[line] = (mute ? before || "# " : indent) + event + end;
    }
    return lines.join("");
  }

  /** The text without the events on these lines; a comment behind an event stays. @param {Iterable<number>} removed */
  without(removed) {
    const lines = [...this.lines];
    for (const line of removed) {
      const { body, end } = split(lines[line]);
      const hidden = body.match(MUTED)?.[2] ?? body;
      const comment = hidden.indexOf("#");
      lines[line] = comment < 0 ? "" : hidden.slice(comment) + end;
    }
    return lines.join("");
  }

  /**
   * The text with further events, each after the last line that is not later, and the lines at which they are.
   * @param {{when: number, what: string, where: string, heard: boolean, seen: boolean}[]} events
   * @returns {{text: string, added: number[]}}
   */
  with(events) {
    const end = this.lines.length ? split(this.lines[0]).end || "\n" : "\n";
    /** @type {Map<number, typeof events>} */
    const after = new Map();
    for (const event of [...events].sort((a, b) => a.when - b.when)) {
      const earlier = this.events.filter((other) => other.when <= event.when);
      const line = this.events.length && !earlier.length ? this.events[0].line - 1 : (earlier.at(-1)?.line ?? this.lines.length - 1);
      after.set(line, [...(after.get(line) ?? []), event]);
    }
    /** @type {string[]} */
    const lines = [];
    /** @type {number[]} */
    const added = [];
    const put = (line) => {
      for (const event of after.get(line) ?? []) {
        if (lines.length && !split(lines.at(-1)).end) lines.push(lines.pop() + end);
        added.push(lines.length);
        lines.push(writeLine(event) + end);
      }
    };
    put(-1);
    this.lines.forEach((whole, line) => {
      lines.push(whole);
      put(line);
    });
    const open = this.lines.length ? !split(this.lines.at(-1)).end : true;
    if (open) lines.push(split(lines.pop() ?? "").body); // the text had no final line end and gets none
    return { text: lines.join(""), added };
  }
}
