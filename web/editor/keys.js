// Keyboard and clipboard of the editor. Events are copied as lines of text, so they can be pasted anywhere.
import { TimelineText } from "./text.js";

/** @typedef {import("./editor.js").Editor} Editor */

export const HELP =
  "Up, Down: choose an event. Left, Right: move it one step, with Shift ten. P: next place. V: seen. S: heard. M: mute. " +
  "Delete: remove. A: add at the cursor. Ctrl+A: select all. Ctrl+C, X, V: copy, cut, paste. +, -, 0: zoom. Ctrl+Z: undo. Alt while dragging: no grid.";

/** @type {Record<string, (editor: Editor, e: KeyboardEvent) => void>} */
const KEYS = {
  ArrowUp: (editor) => editor.step(-1),
  ArrowDown: (editor) => editor.step(1),
  ArrowLeft: (editor, e) => editor.nudge(e.shiftKey ? -10 : -1),
  ArrowRight: (editor, e) => editor.nudge(e.shiftKey ? 10 : 1),
  Delete: (editor) => editor.remove(),
  Backspace: (editor) => editor.remove(),
  a: (editor) => editor.add({}),
  m: (editor) => editor.toggle("muted"),
  p: (editor) => editor.nextPlace(),
  s: (editor) => editor.toggle("heard"),
  v: (editor) => editor.toggle("seen"),
  "+": (editor) => editor.lanesView.zoomBy(1.5),
  "-": (editor) => editor.lanesView.zoomBy(1 / 1.5),
  0: (editor) => editor.lanesView.zoomBy(0),
  "?": (editor) => editor.say(HELP),
};

/** @param {EventTarget | null} target */
const writes = (target) => target instanceof Element && target.matches("input, select, textarea");

/** @param {Editor} editor @param {KeyboardEvent} e */
export function onKey(editor, e) {
  if (writes(e.target)) return e.stopPropagation(); // the graph's own shortcuts do not apply while a value is typed
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  const all = (e.ctrlKey || e.metaKey) && key === "a";
  const action = e.ctrlKey || e.metaKey || e.altKey ? undefined : KEYS[key];
  if (!action && !all) return;
  e.preventDefault();
  e.stopPropagation();
  if (all) editor.selectAll();
  else action(editor, e);
}

/** @type {Set<WeakRef<Editor>>} */
const editors = new Set();

/** The editor that has the focus, unless a value is typed in it. */
function focusedEditor() {
  const active = document.activeElement;
  if (!active || writes(active)) return undefined;
  for (const reference of editors) {
    const editor = reference.deref();
    if (!editor) editors.delete(reference);
    else if (editor.element.contains(active)) return editor;
  }
  return undefined;
}

/** @param {ClipboardEvent} e */
function onClipboard(e) {
  const editor = focusedEditor();
  if (!editor || !e.clipboardData) return;
  e.preventDefault();
  e.stopImmediatePropagation(); // or the host would copy the node
  if (e.type === "paste") return paste(editor, e.clipboardData.getData("text/plain"));
  const events = editor.text.events.filter((event) => editor.selected.has(event.line));
  e.clipboardData.setData("text/plain", events.map(editor.grammar.write).join("\n"));
  if (e.type === "cut") editor.remove();
}

/** Pastes events so that the first is at the cursor, or at its own time without a cursor. @param {Editor} editor @param {string} text */
function paste(editor, text) {
  const { events } = new TimelineText(text, editor.grammar);
  if (!events.length) return editor.say("The clipboard has no events.");
  const first = Math.min(...events.map((event) => event.when));
  const shift = editor.cursor === null ? 0 : editor.cursor - first;
  editor.insert(events.map((event) => ({ ...event, when: event.when + shift, end: event.end == null ? null : event.end + shift })));
}

/** @param {Editor} editor */
export function watchClipboard(editor) {
  if (!editors.size) for (const name of ["copy", "cut", "paste"]) window.addEventListener(name, onClipboard, true);
  editors.add(new WeakRef(editor));
}
