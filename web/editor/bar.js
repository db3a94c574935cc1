// The controls above and below the lanes.
import { PLACES } from "./grammar.js";
import { element } from "./style.js";

const GRIDS = [["0", "free"], ["0.01", "0.01 s"], ["0.05", "0.05 s"], ["0.1", "0.1 s"], ["0.25", "0.25 s"], ["beats", "beats"], ["onsets", "onsets"]];
let count = 0;

/** @param {string} text @param {string} hint @param {() => void} action */
function button(text, hint, action) {
  const made = element("button", { type: "button", textContent: text, title: hint, "aria-label": hint });
  made.addEventListener("click", action);
  return made;
}

/** @param {string} text @param {HTMLElement} control */
const labelled = (text, control) => element("label", {}, text, control);

/** Controls above the lanes. */
export class Bar {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.words = element("datalist", { id: `duet-words-${++count}` });
    this.name = element("input", { className: "name", value: "bell", list: this.words.id, "aria-label": "Name of new events", spellcheck: false });
    this.named = false; // whether the user chose the name of new events
    this.name.addEventListener("input", () => (this.named = true));
    this.grid = element("select", { title: "New and moved events snap to this grid; hold Alt to move freely", "aria-label": "Snap to" });
    for (const [value, text] of GRIDS) this.grid.add(new Option(text, value));
    this.grid.value = "0.05";
    this.grid.addEventListener("change", () => editor.draw());
    this.beats = button("beats → events", "Add an event at every beat of the audio", () => editor.addAt(editor.info.beats));
    this.onsets = button("onsets → events", "Add an event at every onset of the audio", () => editor.addAt(editor.info.onsets));
    this.element = element(
      "div",
      { className: "bar", role: "toolbar", "aria-label": "Timeline" },
      ...[this.name, this.words, button("+ add", "Add an event at the cursor (A)", () => editor.add({})), labelled("snap", this.grid)],
      ...[button("−", "Zoom out (-)", () => editor.lanesView.zoomBy(1 / 1.5)), button("+", "Zoom in (+)", () => editor.lanesView.zoomBy(1.5))],
      ...[button("fit", "Show the whole clip (0)", () => editor.lanesView.zoomBy(0)), this.beats, this.onsets],
    );
  }

  /** @param {{beats: number[], onsets: number[], words: string[]}} info @param {string[]} used names in the timeline */
  show(info, used) {
    this.beats.hidden = !info.beats.length;
    this.onsets.hidden = !info.onsets.length;
    for (const option of this.grid.options) option.hidden = option.value in info && !info[option.value].length;
    if (this.grid.selectedOptions[0]?.hidden) this.grid.value = "0.05";
    const words = [...new Set([...info.words, ...used])];
    if (!this.named) this.name.value = used[0] ?? info.words[0] ?? this.name.value;
    if (words.join("\n") === this.shown) return;
    this.shown = words.join("\n");
    this.words.replaceChildren(...words.map((word) => new Option(word, word)));
  }
}

/** Fields of the selected event, for exact values and for the keyboard. */
export class Fields {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.time = element("input", { className: "time", type: "number", min: "0", step: "any", "aria-label": "Time in seconds" });
    this.what = element("input", { className: "name", list: editor.bar.words.id, "aria-label": "Name", spellcheck: false });
    this.where = element("select", { "aria-label": "Place" });
    for (const place of PLACES) this.where.add(new Option(place, place));
    this.seen = element("input", { type: "checkbox" });
    this.heard = element("input", { type: "checkbox" });
    this.muted = element("input", { type: "checkbox" });
    const change = (control, read) => control.addEventListener("change", () => editor.change(read()));
    change(this.time, () => ({ when: this.time.valueAsNumber }));
    change(this.what, () => ({ what: this.what.value }));
    change(this.where, () => ({ where: this.where.value }));
    for (const name of ["seen", "heard", "muted"]) change(this[name], () => ({ [name]: this[name].checked }));
    this.where.hidden = !editor.grammar.places;
    this.element = element(
      "div",
      { className: "bar", role: "group", "aria-label": "Selected event" },
      ...[this.time, "s", this.what, this.where, labelled("seen", this.seen), labelled("heard", this.heard), labelled("mute", this.muted)],
      button("remove", "Remove the selected events (Delete)", () => editor.remove()),
    );
  }

  /** @param {import("./text.js").PlacedEvent | undefined} event */
  show(event) {
    this.element.classList.toggle("unused", !event); // its place stays, so that a selection moves nothing
    if (!event) return;
    const set = (control, name, value) => control !== document.activeElement && (control[name] = value);
    set(this.time, "value", String(Number(event.when.toFixed(3))));
    set(this.what, "value", event.what);
    set(this.where, "value", event.where);
    for (const name of ["seen", "heard", "muted"]) this[name].checked = event[name];
  }
}
