// The timeline editor: lanes over a text. It knows no host: the text comes in by `show`, and every edit goes out by `onChange`.
import { Bar, Fields } from "./bar.js";
import { PLACES, PLAN } from "./grammar.js";
import { onKey, watchClipboard } from "./keys.js";
import { Lanes } from "./lanes.js";
import { addStyle, element } from "./style.js";
import { TimelineText } from "./text.js";
import { clipSeconds, counted, described, eventsAt, lanesOf, lastTime, nudged, snapped } from "./view.js";

/**
 * @typedef {object} Info what the node says about its inputs
 * @property {number | null} seconds length of the clip
 * @property {string[]} words names that the model knows
 * @property {number[]} beats
 * @property {number[]} onsets
 * @property {{peaks: number[], seconds: number} | null} wave
 */

/** @type {Info} */
const NOTHING = { seconds: null, words: [], beats: [], onsets: [], wave: null };
const MOST_PROBLEMS = 20;

export class Editor {
  /** @param {{onChange: (text: string) => void, grammar?: import("./grammar.js").Grammar}} host */
  constructor({ onChange, grammar = PLAN }) {
    addStyle();
    this.grammar = grammar;
    this.onChange = onChange;
    this.info = NOTHING;
    this.cursor = null;
    this.current = null;
    this.selected = new Set();
    this.moved = new Map();
    this.readOnly = "";
    this.crowded = "";
    this.bar = new Bar(this);
    this.fields = new Fields(this);
    this.lanesView = new Lanes(this);
    this.problems = element("ul", { className: "problems", "aria-label": "Lines that are not events" });
    this.status = element("div", { className: "status", role: "status", "aria-live": "polite" });
    this.element = element(
      "div",
      { className: "duet-editor", tabIndex: -1, role: "group", "aria-label": "Timeline editor", "data-capture-wheel": "true" },
      ...[this.bar.element, this.lanesView.head, this.lanesView.scroll, this.fields.element, this.problems, this.status],
    );
    this.element.addEventListener("keydown", (e) => onKey(this, e));
    this.element.addEventListener("pointerdown", (e) => e.button === 1 || e.stopPropagation()); // or the node would be dragged
    watchClipboard(this);
    this.show("");
  }

  /** Shows a text; the selection is kept where the lines are still events. @param {string} text */
  show(text) {
    this.text = new TimelineText(text, this.grammar);
    this.moved.clear();
    this.selected = new Set([...this.selected].filter((line) => this.text.at(line)));
    if (this.current !== null && !this.text.at(this.current)) this.current = null;
    const shown = this.text.problems.slice(0, MOST_PROBLEMS).map(({ message }) => element("li", { textContent: message }));
    const more = this.text.problems.length - shown.length;
    if (more > 0) shown.push(element("li", { textContent: `${counted(more, "further line")} ${more === 1 ? "is" : "are"} not events.` }));
    this.problems.replaceChildren(...shown);
    this.problems.hidden = !shown.length;
    this.draw();
  }

  /** @param {Partial<Info>} info */
  inform(info) {
    this.info = { ...this.info, ...info };
    this.draw();
  }

  draw() {
    const events = this.text.events.map((event) => ({ ...event, ...this.moved.get(event.line) }));
    this.lanes = lanesOf(events);
    this.seconds = clipSeconds(this.info.seconds, events);
    this.span = Math.max(this.seconds, lastTime(events), this.info.wave?.seconds ?? 0);
    this.wave = this.info.wave;
    this.points = this.grid(false).points;
    this.bar.show(this.info, this.lanes.map(({ what }) => what));
    this.lanesView.draw();
    const event = this.current === null ? undefined : this.shownEvent(this.current);
    this.fields.show(event);
    const late = events.filter(({ when, muted }) => !muted && when >= this.seconds).length;
    const ended = late ? `${counted(late, "event")} after the end at ${this.seconds} s.` : "";
    const chosen = this.selected.size > 1 ? `${this.selected.size} events selected.` : event ? `${described(event)}.` : "";
    this.say([this.readOnly, this.crowded, ended, chosen].filter(Boolean).join(" ") || this.hint());
  }

  hint() {
    return this.text.events.length ? "Drag to move; arrow keys: choose and move; ? for all keys." : "Double-click to add an event.";
  }

  /** @param {string} text */
  say(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  /** An event as it is shown now, with a move that is not finished. @param {number} line */
  shownEvent(line) {
    return { ...this.text.at(line), ...this.moved.get(line) };
  }

  /** @param {boolean} free without a grid */
  grid(free) {
    const { value } = this.bar.grid;
    if (free) return { step: 0, points: [] };
    return value in this.info ? { step: 0, points: this.info[value] } : { step: Number(value), points: [] };
  }

  /** Passes a new text on and shows it. @param {() => string} edit @param {number[]} [selected] */
  apply(edit, selected) {
    if (this.readOnly) return this.say(this.readOnly);
    let text;
    try {
      text = edit();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.moved.clear();
      this.draw();
      return this.say(error.message);
    }
    if (selected) this.selected = new Set(selected);
    if (text === String(this.text)) return this.show(text);
    this.show(text);
    this.onChange(text);
  }

  /** Changes the selected events. @param {import("./text.js").Changes} changes */
  change(changes) {
    this.apply(() => this.text.edited([...this.selected].map((line) => [line, changes])));
  }

  /** Switches a flag of the selected events, so that all have the same. @param {"seen" | "heard" | "muted"} flag */
  toggle(flag) {
    if (this.current !== null) this.change({ [flag]: !this.text.at(this.current)[flag] });
  }

  nextPlace() {
    if (this.current === null || !this.grammar.places) return;
    this.change({ where: PLACES[(PLACES.indexOf(this.text.at(this.current).where) + 1) % PLACES.length] });
  }

  /** @param {number} steps */
  nudge(steps) {
    const grid = this.grid(false);
    this.apply(() => this.text.edited([...this.selected].map((line) => [line, { when: nudged(this.text.at(line).when, steps, grid) }])));
  }

  remove() {
    if (!this.selected.size) return;
    const next = this.text.events.find((event) => !this.selected.has(event.line));
    this.current = null;
    this.apply(() => this.text.without(this.selected), []);
    if (next) this.lanesView.scroll.focus({ preventScroll: true });
  }

  /** Adds an event; what is not given is taken from the controls. @param {{when?: number, what?: string, where?: string}} event */
  add({ when = this.cursor ?? 0, what = this.bar.name.value.trim(), where = "middle" }) {
    this.insert([{ when: snapped(when, this.grid(false)), what, where, heard: true, seen: true }]);
  }

  /** Adds an event at each of these times. @param {number[]} times */
  addAt(times) {
    const events = eventsAt(times, this.bar.name.value.trim(), this.text.events);
    this.insert(events);
    if (!this.readOnly) this.say(`${counted(events.length, "event")} added.`);
  }

  /** @param {import("./grammar.js").NewEvent[]} events */
  insert(events) {
    const fault = events.map(({ what }) => this.grammar.nameFault(what)).find(Boolean);
    if (fault) return this.say(fault);
    const { text, added } = this.text.with(events);
    this.current = added[0] ?? null;
    this.apply(() => text, added);
    if (added.length) this.lanesView.focus(added[0]);
  }

  /** @param {number} line @param {boolean} more add to the selection, or take from it */
  select(line, more) {
    if (!more && !this.selected.has(line)) this.selected.clear();
    if (more && this.selected.has(line)) this.selected.delete(line);
    else this.selected.add(line);
    this.current = this.selected.has(line) ? line : ([...this.selected].at(-1) ?? null);
    this.draw();
    if (this.current !== null) this.lanesView.focus(this.current);
  }

  /** Selects one event and leaves the focus where it is. @param {number} line */
  choose(line) {
    this.selected = new Set([line]);
    this.current = line;
    this.draw();
  }

  selectAll() {
    this.selected = new Set(this.text.events.map((event) => event.line));
    this.current ??= this.text.events[0]?.line ?? null;
    this.draw();
  }

  /** A mark has the focus. @param {number} line */
  focused(line) {
    if (!this.selected.has(line)) this.choose(line);
  }

  /** The previous or next event in time gets the focus. @param {number} step */
  step(step) {
    const events = [...this.text.events].sort((a, b) => a.when - b.when);
    const at = events.findIndex((event) => event.line === this.current);
    const next = events[Math.min(events.length - 1, Math.max(0, at + step))];
    if (!next) return;
    this.choose(next.line);
    this.lanesView.focus(next.line);
  }

  /** @param {number} when */
  setCursor(when) {
    this.cursor = snapped(when, this.grid(false));
    this.selected.clear();
    this.current = null;
    this.lanesView.scroll.focus({ preventScroll: true });
    this.draw();
    this.say(`Cursor at ${this.cursor} seconds.`);
  }

  /** Shows the selected events moved, the grabbed one to `when` and `where`. */
  preview(line, when, where, free) {
    if (this.readOnly) return;
    const shift = snapped(Math.max(0, when), this.grid(free)) - this.text.at(line).when;
    for (const other of this.selected) this.moved.set(other, this.shifted(other, shift));
    if (this.grammar.places) this.moved.set(line, { ...this.moved.get(line), where });
    this.draw();
  }

  /** The times of an event moved by `shift` seconds. @param {number} line @param {number} shift */
  shifted(line, shift) {
    const { when, end = null } = this.text.at(line);
    const moved = Math.max(0, when + shift);
    return end === null ? { when: moved } : { when: moved, end: end + moved - when };
  }

  keepPreview() {
    const moved = [...this.moved];
    this.apply(() => this.text.edited(moved));
  }

  dropPreview() {
    this.moved.clear();
    this.draw();
  }
}
