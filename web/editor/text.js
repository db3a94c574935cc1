// A timeline's text as lines that can be edited one at a time. An edit replaces words of one line; every other byte stays.
import { LineError, PLAN } from "./grammar.js";

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

export class TimelineText {
  /** @param {string} text @param {import("./grammar.js").Grammar} [grammar] */
  constructor(text, grammar = PLAN) {
    this.grammar = grammar;
    this.lines = linesOf(text);
    /** @type {PlacedEvent[]} */
    this.events = [];
    /** @type {Problem[]} */
    this.problems = [];
    let read = 0;
    this.lines.forEach((whole, line) => {
      const { body } = split(whole);
      try {
        const event = grammar.read(body);
        if (event && ++read > grammar.most) throw new LineError(grammar.tooMany);
        const muted = event ? null : this.mutedEvent(body);
        if (event ?? muted) this.events.push({ ...(event ?? muted), line, muted: !event });
      } catch (error) {
        this.problems.push({ line, message: grammar.message(line + 1, body, error) });
      }
    });
  }

  /** The event behind a '#', e.g. of '# 0.35 bell left'; null for an ordinary comment. @param {string} body */
  mutedEvent(body) {
    const found = body.match(MUTED);
    try {
      return found && this.grammar.read(found[2]);
    } catch {
      return null;
    }
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
      const event = this.grammar.rewrite(hidden, changes);
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
      const comment = this.grammar.comment(hidden);
      lines[line] = comment && comment + end;
    }
    return lines.join("");
  }

  /**
   * The text with further events, each after the last line that is not later, and the lines at which they are.
   * @param {import("./grammar.js").NewEvent[]} events
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
        lines.push(this.grammar.write(event) + end);
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
