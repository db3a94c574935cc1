// The timeline editor on the nodes whose text is a timeline. The text widget is the node's input and is saved in the workflow;
// the editor only shows and edits it.
import { app } from "../../scripts/app.js";
import { Editor } from "./editor/editor.js";
import { TIMED } from "./editor/timed.js";

// Node -> the widget with the text, the widget with the length of the clip if there is one, and the grammar if it is not a plan's.
const NODES = {
  DuetEditPlan: { text: "timeline" },
  DuetTimelinePrompt: { text: "timeline", seconds: "seconds" },
  DuetTimedPrompt: { text: "timeline", seconds: "seconds", grammar: TIMED },
};
const PROPERTY = "duet_timeline"; // what the node said about its inputs when it last ran, saved with the workflow
const HEIGHT = 250;
const CHECK = 300; // ms between looks at values that change without an event: undo, links, promoted widgets, the canvas lock
/**
 * The editor that is on the page for a node, and its view. Undo creates the node again, and its new editor continues with both.
 * @type {Map<string, {element: HTMLElement, zoom: number, scroll: number, current: number | null, focus: boolean}>}
 */
const views = new Map();

const keyOf = (node) => `${node.graph?.id ?? ""} ${node.id}`;
const widgetOf = (node, name) => node.widgets?.find((widget) => widget.name === name);
const isLinked = (node, name) => (node.inputs ?? []).some((input) => input.widget?.name === name && input.link != null);

/** Whether the canvas is locked. A locked canvas does not lock an editor that is shown in App mode, outside the graph. */
function isLocked(element) {
  return Boolean(app.canvas?.read_only && element.closest(".dom-widget, [data-node-id]"));
}

class TimelineWidget {
  constructor(node, names) {
    this.node = node;
    this.names = names;
    this.planned = ""; // the events that the node ran with, shown while the text is empty
    this.editor = new Editor({ onChange: (text) => this.write(text), grammar: names.grammar });
    const options = { serialize: false, getMinHeight: () => HEIGHT };
    const widget = node.addDOMWidget("editor", "duet-timeline", this.editor.element, options);
    widget.serialize = false;
    this.timer = setInterval(() => this.check(), CHECK);
  }

  get text() {
    return widgetOf(this.node, this.names.text);
  }

  /** The text to show: the widget's, or the events of the last run if the widget is empty or replaced by a link. */
  get shown() {
    const own = isLinked(this.node, this.names.text) ? "" : String(this.text?.value ?? "");
    return own.trim() ? own : this.planned || own;
  }

  write(text) {
    this.text.value = text;
    this.text.callback?.(text);
    app.graph?.setDirtyCanvas?.(true, true);
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker); // one step of undo for each edit
  }

  check() {
    const { editor, node, names } = this;
    const { element } = editor;
    // Nodes 2.0 keeps showing the element of the node that undo removed.
    const shown = views.get(keyOf(node))?.element;
    if (!element.isConnected && shown?.isConnected) shown.replaceWith(element);
    if (!element.isConnected) return;
    if (element.inert !== isLocked(element)) element.inert = !element.inert;
    editor.readOnly = isLinked(node, names.text) ? "The timeline comes from a link and cannot be edited here." : "";
    if (this.shown !== this.last) {
      this.last = this.shown;
      if (this.last !== String(editor.text)) editor.show(this.last);
    }
    const seconds = this.seconds();
    if (seconds !== editor.info.seconds) editor.inform({ seconds });
    if (this.view) this.restore();
    const { scroll, zoom } = editor.lanesView;
    views.set(keyOf(node), { element, zoom, scroll: scroll.scrollLeft, current: editor.current, focus: element.contains(document.activeElement) });
  }

  /** The length of the clip: the widget's value, or what the node said. */
  seconds() {
    const { seconds } = this.names;
    if (seconds && !isLinked(this.node, seconds)) return Number(widgetOf(this.node, seconds)?.value) || null;
    return this.node.properties?.[PROPERTY]?.seconds ?? null;
  }

  /** Continues where the editor was before its node was created again. */
  restore() {
    const { zoom, scroll, current, focus } = this.view;
    this.view = null;
    this.editor.lanesView.zoom = zoom;
    this.editor.draw();
    this.editor.lanesView.scroll.scrollLeft = scroll;
    if (current === null || !this.editor.text.at(current)) return;
    if (focus) this.editor.select(current, false);
    else this.editor.choose(current);
  }

  configured() {
    this.view = views.get(keyOf(this.node)) ?? null;
    const saved = this.node.properties?.[PROPERTY];
    if (saved) this.editor.inform({ words: saved.words ?? [] });
    this.check();
  }

  executed(output) {
    const said = output?.[PROPERTY]?.[0];
    if (!said) return;
    this.planned = said.timeline ?? "";
    this.node.properties[PROPERTY] = { seconds: said.seconds, words: said.words };
    const { words = [], beats = [], onsets = [], wave = null } = said;
    this.editor.inform({ words, beats, onsets, wave });
    this.check();
  }
}

/** Calls `then` after a method of the node. */
function after(node, name, then) {
  const before = node[name];
  node[name] = function (...values) {
    const answer = before?.apply(this, values);
    then(...values);
    return answer;
  };
}

app.registerExtension({
  name: "duet.timeline",
  nodeCreated(node) {
    const names = NODES[node.comfyClass];
    if (!names) return;
    const widget = new TimelineWidget(node, names);
    after(node, "onConfigure", () => widget.configured());
    after(node, "onExecuted", (output) => widget.executed(output));
    after(node, "onRemoved", () => clearInterval(widget.timer));
    node.setSize([Math.max(node.size[0], 440), Math.max(node.size[1], 520)]);
  },
});
