// The lanes: a mark for each event in each stream, and the pointer. What an action changes is the editor's business.
import { drawGround, drawHead } from "./draw.js";
import { PLACES } from "./grammar.js";
import { LANE, NAMES, ROW, SOUND, element } from "./style.js";
import { counted, described } from "./view.js";

const MARGIN = 14; // pixels behind the end of the clip
const MOST_MARKS = 400; // more are drawn as ticks
const DRAG = 3; // pixels before a press becomes a drag

/** @typedef {import("./text.js").PlacedEvent} PlacedEvent */
/** @typedef {{when: number, row: number, y: number}} Point y: 0 to 1 in the lane's picture rows */

export class Lanes {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.head = element("canvas", { className: "head", "aria-hidden": "true" });
    this.ground = element("canvas", { className: "ground", "aria-hidden": "true" });
    this.marks = element("div", { className: "marks" });
    this.names = element("div", { className: "names" });
    this.content = element("div", { className: "content" }, this.ground, this.marks, this.names);
    this.scroll = element("div", { className: "scroll", tabIndex: -1 }, this.content);
    /** @type {Map<string, HTMLButtonElement>} */
    this.shown = new Map();
    this.drag = null;
    this.zoom = 1;
    this.scroll.addEventListener("scroll", () => this.draw());
    for (const part of [this.marks, this.head]) part.addEventListener("pointerdown", (e) => this.press(e));
    for (const name of ["pointermove", "pointerup", "pointercancel"]) {
      this.marks.addEventListener(name, (e) => this[name](e));
    }
    this.marks.addEventListener("dblclick", (e) => this.addAt(e));
    this.marks.addEventListener("contextmenu", (e) => this.removeAt(e));
    for (const part of [this.scroll, this.head]) part.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    new ResizeObserver(() => this.draw()).observe(this.scroll);
  }

  get pixelsPerSecond() {
    return (Math.max(60, this.scroll.clientWidth - NAMES - MARGIN) / this.editor.seconds) * this.zoom;
  }

  /** Zooms around a time that stays where it is on screen. @param {number} factor @param {number} [around] seconds */
  zoomBy(factor, around) {
    const centre = around ?? (this.scroll.scrollLeft + (this.scroll.clientWidth - NAMES) / 2) / this.pixelsPerSecond;
    const before = centre * this.pixelsPerSecond - this.scroll.scrollLeft;
    this.zoom = Math.min(500, Math.max(1, this.zoom * factor));
    this.draw();
    this.scroll.scrollLeft = centre * this.pixelsPerSecond - before;
    this.draw();
  }

  /** Pixels on screen per pixel of the element: the graph may be zoomed. */
  get scale() {
    return this.marks.getBoundingClientRect().width / this.marks.offsetWidth || 1;
  }

  /** Time and row under the pointer. @param {MouseEvent} e @returns {Point} */
  at(e) {
    const { left, top } = this.marks.getBoundingClientRect();
    const scale = this.scale;
    const y = (e.clientY - top) / scale;
    const row = Math.floor(y / LANE);
    return { when: Math.max(0, ((e.clientX - left) / scale - NAMES) / this.pixelsPerSecond), row, y: (y - row * LANE) / (3 * ROW) };
  }

  /** @param {MouseEvent} e @returns {number | null} the line of the event under the pointer */
  lineAt(e) {
    // While the pointer is captured the target is the container, so the position decides.
    const mark = /** @type {HTMLElement | null} */ (document.elementFromPoint(e.clientX, e.clientY)?.closest(".mark"));
    return mark ? Number(mark.dataset.line) : null;
  }

  /** @param {PointerEvent} e */
  press(e) {
    if (e.button !== 0) return;
    const line = this.lineAt(e);
    const point = this.at(e);
    if (line === null) return this.editor.setCursor(point.when);
    this.editor.select(line, e.shiftKey || e.ctrlKey || e.metaKey);
    if (!this.editor.selected.has(line)) return;
    const event = this.editor.shownEvent(line);
    this.drag = { line, start: [e.clientX, e.clientY], scale: this.scale, event, picture: point.y < 1 && event.seen, moved: false };
    this.marks.setPointerCapture(e.pointerId);
  }

  /** @param {PointerEvent} e */
  pointermove(e) {
    if (!this.drag) return;
    const [x, y] = this.drag.start;
    if (!this.drag.moved && Math.hypot(e.clientX - x, e.clientY - y) < DRAG) return;
    this.drag.moved = true;
    const { event, picture, scale } = this.drag;
    const when = event.when + (e.clientX - x) / scale / this.pixelsPerSecond;
    const place = PLACES.indexOf(event.where) + Math.round((e.clientY - y) / scale / ROW);
    const where = picture ? PLACES[Math.min(2, Math.max(0, place))] : event.where;
    this.editor.preview(this.drag.line, when, where, e.altKey);
  }

  /** @param {PointerEvent} _e */
  pointerup(_e) {
    const moved = this.drag?.moved;
    this.drag = null;
    if (moved) this.editor.keepPreview();
  }

  /** @param {PointerEvent} _e */
  pointercancel(_e) {
    this.drag = null;
    this.editor.dropPreview();
  }

  /** @param {MouseEvent} e */
  addAt(e) {
    if (this.lineAt(e) !== null) return;
    const { when, row, y } = this.at(e);
    const lane = this.editor.lanes[row];
    this.editor.add({ when, what: lane?.what, where: lane && y < 1 ? PLACES[Math.max(0, Math.floor(y * 3))] : "middle" });
  }

  /** @param {MouseEvent} e */
  removeAt(e) {
    e.preventDefault();
    e.stopPropagation();
    const line = this.lineAt(e);
    if (line === null) return;
    this.editor.select(line, false);
    this.editor.remove();
  }

  /** Zooms if the editor has the focus; otherwise the wheel is the graph's. @param {WheelEvent} e */
  wheel(e) {
    if (e.ctrlKey || e.metaKey || e.shiftKey || !e.deltaY || !this.editor.element.contains(document.activeElement)) return;
    e.preventDefault();
    e.stopPropagation();
    this.zoomBy(1.2 ** (-e.deltaY / 100), this.at(e).when);
  }

  /** Scrolls an event into view and gives its mark the focus. @param {number} line */
  focus(line) {
    const event = this.editor.shownEvent(line);
    const lane = this.editor.lanes.findIndex(({ what }) => what === event.what);
    const [x, width] = [event.when * this.pixelsPerSecond, this.scroll.clientWidth - NAMES];
    if (x < this.scroll.scrollLeft || x > this.scroll.scrollLeft + width - MARGIN) this.scroll.scrollLeft = x - width / 2;
    const [top, height] = [lane * LANE, this.scroll.clientHeight];
    if (top < this.scroll.scrollTop || top + LANE > this.scroll.scrollTop + height) this.scroll.scrollTop = top;
    this.draw();
    (this.shown.get(`${line} seen`) ?? this.shown.get(`${line} heard`))?.focus({ preventScroll: true });
  }

  draw() {
    const { editor, scroll } = this;
    if (!scroll.clientWidth) return;
    const pixelsPerSecond = this.pixelsPerSecond;
    const height = Math.max(scroll.clientHeight, editor.lanes.length * LANE);
    this.content.style.width = `${Math.max(scroll.clientWidth, NAMES + MARGIN + editor.span * pixelsPerSecond)}px`;
    this.content.style.height = this.names.style.height = this.marks.style.height = `${height}px`;
    const [from, rows] = [scroll.scrollLeft / pixelsPerSecond, [scroll.scrollTop / LANE - 1, (scroll.scrollTop + scroll.clientHeight) / LANE]];
    const to = from + (scroll.clientWidth - NAMES) / pixelsPerSecond;
    const visible = editor.lanes.map((lane, row) => ({ ...lane, row })).filter(({ row }) => row > rows[0] && row < rows[1]);
    const events = visible.flatMap((lane) => lane.events.filter((e) => (e.end ?? e.when) >= from && e.when <= to).map((e) => ({ ...e, lane })));
    const ticks = events.length > MOST_MARKS;
    const scene = {
      ...{ width: scroll.clientWidth, height: scroll.clientHeight, scroll: scroll.scrollLeft, top: scroll.scrollTop },
      ...{ pixelsPerSecond, seconds: editor.seconds, cursor: editor.cursor, points: editor.points, wave: editor.wave },
      ...{ lanes: editor.lanes, ticks },
    };
    drawHead(this.head, scene);
    drawGround(this.ground, scene);
    this.names.replaceChildren(...visible.map((lane) => this.name(lane)));
    this.place(ticks ? events.filter((e) => editor.selected.has(e.line)).slice(0, MOST_MARKS) : events);
    editor.crowded = ticks ? `${events.length} events are in view; zoom in to edit single ones.` : "";
  }

  name({ what, events, colour, row }) {
    const count = element("small", { textContent: counted(events.length, "event") });
    const rows = (this.editor.grammar.places ? ["L", "M", "R", "♪"] : [" ", "▣", " ", "♪"]).map((text) => element("i", { textContent: text }));
    const name = element("div", { title: what }, element("span", { textContent: what }), count, element("b", { "aria-hidden": "true" }, ...rows));
    name.style.cssText = `top:${row * LANE}px; border-left:4px solid ${colour}`;
    return name;
  }

  /** Shows exactly these events; marks that stay are kept, so that the focus stays. */
  place(events) {
    const wanted = new Set();
    const tabbable = this.editor.current ?? events[0]?.line;
    for (const event of events) {
      for (const [stream, shown] of [["seen", event.seen], ["heard", event.heard]]) {
        if (!shown) continue;
        const key = `${event.line} ${stream}`;
        wanted.add(key);
        const mark = this.shown.get(key) ?? this.mark(key, event.line);
        const first = stream === "seen" || !event.seen;
        const y = event.lane.row * LANE + (stream === "seen" ? (PLACES.indexOf(event.where) + 0.5) * ROW - 5 : 3 * ROW + SOUND / 2 - 5);
        const width = event.end == null ? "" : `margin-left:0; width:${Math.max(8, (event.end - event.when) * this.pixelsPerSecond)}px; `;
        mark.style.cssText = `${width}left:${NAMES + event.when * this.pixelsPerSecond}px; top:${y}px; --lane:${event.lane.colour}`;
        mark.className = ["mark", stream === "heard" && "sound", event.end != null && "range", event.muted && "muted", this.editor.selected.has(event.line) && "selected"].filter(Boolean).join(" ");
        mark.title = described(event);
        mark.setAttribute("aria-label", described(event));
        mark.setAttribute("aria-pressed", String(this.editor.selected.has(event.line)));
        mark.tabIndex = first && event.line === tabbable ? 0 : -1;
        if (!first) mark.setAttribute("aria-hidden", "true"); // the other mark already says it
        else mark.removeAttribute("aria-hidden");
      }
    }
    for (const [key, mark] of this.shown) {
      if (wanted.has(key)) continue;
      mark.remove();
      this.shown.delete(key);
    }
  }

  mark(key, line) {
    const mark = element("button", { type: "button" });
    mark.dataset.line = String(line);
    mark.addEventListener("focus", () => this.editor.focused(line));
    this.shown.set(key, mark);
    this.marks.append(mark);
    return mark;
  }
}
