// The lanes of "Duet Edit Plan": what is seen above, what is heard below, time from left to right.
// The lanes and the text widget always show the same events; the text is the node's input and is saved in the workflow.
import { app } from "../../scripts/app.js";

const PLACES = ["left", "middle", "right"];
const KINDS = ["ball", "bell", "lamp", "drum", "bird", "clock"];
const LANES = [
  { name: "seen", colour: "#4d8ff0" },
  { name: "heard", colour: "#f0654d" },
];
const SECONDS = 2;
const LEFT = 62;
const RADIUS = 6;
const LAST = SECONDS - 1 / 32;

function parse(text) {
  return text
    .split("\n")
    .map((line) => line.split("#")[0].trim().split(/\s+/))
    .filter((parts) => parts.length >= 3 && !Number.isNaN(Number(parts[0])))
    .map(([when, what, where, mark]) => ({
      when: Number(when),
      what,
      where: Math.max(0, PLACES.indexOf(where)),
      heard: mark !== "silent",
      seen: mark !== "unseen",
    }));
}

function write(events) {
  const mark = (event) => (event.heard && event.seen ? "" : event.seen ? " silent" : " unseen");
  return [...events]
    .sort((a, b) => a.when - b.when)
    .map((event) => `${event.when.toFixed(2)} ${event.what} ${PLACES[event.where]}${mark(event)}`)
    .join("\n");
}

class Lanes {
  constructor(text) {
    this.text = text;
    this.events = parse(text.value ?? "");
    this.held = null;
    this.element = document.createElement("div");
    this.element.className = "duet-lanes";
    this.element.style.cssText = "display:flex;flex-direction:column;gap:4px;font:11px sans-serif;color:#bbb";
    this.canvas = document.createElement("canvas");
    this.canvas.style.cssText = "width:100%;height:150px;background:#1b1b1b;border-radius:4px;touch-action:none";
    this.kind = document.createElement("select");
    for (const kind of KINDS) this.kind.add(new Option(kind, kind));
    const bar = document.createElement("div");
    bar.append(this.kind, " double-click: add · drag: move · shift-click: mute · right-click: remove");
    this.element.append(this.canvas, bar);
    this.canvas.addEventListener("pointerdown", (e) => this.press(e));
    this.canvas.addEventListener("pointermove", (e) => this.move(e));
    this.canvas.addEventListener("pointerup", () => this.release());
    this.canvas.addEventListener("dblclick", (e) => this.add(e));
    this.canvas.addEventListener("contextmenu", (e) => this.remove(e));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  // Show an incoming plan while the text is empty; it is written to the text only when the user edits it.
  show(text) {
    this.events = parse(text);
    this.draw();
  }

  keep() {
    this.text.value = write(this.events);
    this.text.callback?.(this.text.value);
    app.graph?.setDirtyCanvas?.(true, true);
    this.draw();
  }

  place(event, lane) {
    const { width, height } = this.size();
    const x = LEFT + (event.when / SECONDS) * (width - LEFT - RADIUS * 2);
    const y = (lane + (event.where + 0.5) / 3) * (height / 2);
    return { x, y };
  }

  size() {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  // Pointer position to lane, time and place. The graph may be zoomed, so the element's box on screen has another scale.
  at(e) {
    const box = this.canvas.getBoundingClientRect();
    const { width, height } = this.size();
    const x = ((e.clientX - box.left) / box.width) * width;
    const y = ((e.clientY - box.top) / box.height) * height;
    const lane = y < height / 2 ? 0 : 1;
    const when = ((x - LEFT) / (width - LEFT - RADIUS * 2)) * SECONDS;
    const where = Math.floor(((y - lane * (height / 2)) / (height / 2)) * 3);
    return {
      x,
      y,
      lane,
      when: Math.min(LAST, Math.max(0, when)),
      where: Math.min(2, Math.max(0, where)),
    };
  }

  find(point) {
    const near = (event, lane) => {
      const { x, y } = this.place(event, lane);
      return Math.hypot(x - point.x, y - point.y) <= RADIUS * 1.8;
    };
    return this.events.find((e) => (e.seen && near(e, 0)) || (e.heard && near(e, 1)));
  }

  press(e) {
    if (e.button !== 0) return;
    const point = this.at(e);
    const found = this.find(point);
    if (!found) return;
    e.stopPropagation();
    if (e.shiftKey) {
      // A muted event is only seen; an event that is only heard becomes visible as well.
      [found.heard, found.seen] = [!found.heard || !found.seen, true];
      this.keep();
      return;
    }
    this.held = found;
    this.canvas.setPointerCapture(e.pointerId);
  }

  move(e) {
    if (!this.held) return;
    const point = this.at(e);
    this.held.when = point.when;
    this.held.where = point.where;
    this.draw();
  }

  release() {
    if (!this.held) return;
    this.held = null;
    this.keep();
  }

  add(e) {
    const { when, where } = this.at(e);
    this.events.push({ when, where, what: this.kind.value, heard: true, seen: true });
    this.keep();
  }

  remove(e) {
    const found = this.find(this.at(e));
    if (!found) return;
    e.preventDefault();
    e.stopPropagation();
    this.events = this.events.filter((event) => event !== found);
    this.keep();
  }

  draw() {
    const { width, height } = this.size();
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const g = this.canvas.getContext("2d");
    g.scale(scale, scale);
    g.font = "10px sans-serif";
    LANES.forEach(({ name, colour }, lane) => {
      g.fillStyle = colour;
      g.fillText(name, 4, lane * (height / 2) + 12);
      PLACES.forEach((place, row) => {
        const y = (lane + (row + 0.5) / 3) * (height / 2);
        g.fillStyle = "#777";
        g.fillText(place, 30, y + 3);
        g.strokeStyle = "#2c2c2c";
        g.strokeRect(LEFT, y, width - LEFT, 0.5);
      });
      for (const event of this.events) {
        if (!(lane ? event.heard : event.seen)) continue;
        const { x, y } = this.place(event, lane);
        g.fillStyle = colour;
        g.beginPath();
        g.arc(x, y, RADIUS, 0, 2 * Math.PI);
        g.fill();
        g.fillStyle = "#ddd";
        g.fillText(event.what, x + RADIUS + 2, y + 3);
      }
    });
    g.fillStyle = "#777";
    for (let t = 0; t < SECONDS; t += 0.5) {
      const x = LEFT + (t / SECONDS) * (width - LEFT - RADIUS * 2);
      g.fillRect(x, 0, 0.5, height);
      g.fillText(`${t} s`, x + 2, height - 2);
    }
  }
}

app.registerExtension({
  name: "duet.editPlan",
  nodeCreated(node) {
    if (node.comfyClass !== "DuetEditPlan") return;
    const text = node.widgets.find((widget) => widget.name === "timeline");
    const lanes = new Lanes(text);
    const widget = node.addDOMWidget("lanes", "duet-lanes", lanes.element, { serialize: false, getMinHeight: () => 185 });
    widget.serialize = false;
    const changed = text.callback;
    text.callback = function (value) {
      changed?.apply(this, arguments);
      lanes.show(value ?? "");
    };
    const configured = node.onConfigure;
    node.onConfigure = function () {
      configured?.apply(this, arguments);
      lanes.show(text.value ?? "");
    };
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
      executed?.apply(this, arguments);
      if (!text.value?.trim() && output?.text?.length) lanes.show(output.text[0]);
    };
    node.setSize([Math.max(node.size[0], 420), Math.max(node.size[1], 420)]);
  },
});
