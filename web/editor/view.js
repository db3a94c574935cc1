// What the lanes show, as values: lanes, lengths, steps, snapping and descriptions. No DOM.

/** @typedef {import("./text.js").PlacedEvent} PlacedEvent */

const GOLDEN_ANGLE = 137.508; // degrees: neighbouring lanes have clearly different hues

/**
 * One lane for each subject, in the order in which the text names them.
 * @param {PlacedEvent[]} events
 * @returns {{what: string, colour: string, events: PlacedEvent[]}[]}
 */
export function lanesOf(events) {
  const lanes = new Map();
  for (const event of events) {
    if (!lanes.has(event.what)) lanes.set(event.what, { what: event.what, colour: laneColour(lanes.size), events: [] });
    lanes.get(event.what).events.push(event);
  }
  return [...lanes.values()];
}

/** @param {number} index */
export function laneColour(index) {
  return `hsl(${Math.round((210 + index * GOLDEN_ANGLE) % 360)} 75% 60%)`;
}

/**
 * The length of the clip: the node's if it is known, else the shortest of 2, 5, 10, ... seconds that holds all events.
 * @param {number | null} known
 * @param {{when: number}[]} events
 */
export function clipSeconds(known, events) {
  if (known !== null && known > 0 && known < Infinity) return known;
  const last = lastTime(events);
  let length = 2;
  for (let k = 0; length <= last; k++) length *= [2.5, 2, 2][k % 3];
  return length;
}

/** @param {{when: number, end?: number | null}[]} events */
export function lastTime(events) {
  return events.reduce((latest, event) => Math.max(latest, event.end ?? event.when), 0);
}

/** Seconds between two labels of the ruler: 1, 2 or 5 times a power of ten, at least `apart` pixels. @param {number} pixelsPerSecond */
export function rulerStep(pixelsPerSecond, apart = 55) {
  const least = apart / pixelsPerSecond;
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * 0.999);
}

/** @param {number} seconds @param {number} step */
export function rulerLabel(seconds, step) {
  return `${seconds.toFixed(Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)))} s`;
}

/**
 * A time moved to the nearest multiple of `step` or, if there are any, to the nearest of `points`.
 * @param {number} seconds
 * @param {{step: number, points: number[]}} grid step 0: no grid
 */
export function snapped(seconds, { step, points }) {
  if (points.length) return points.reduce((best, point) => (Math.abs(point - seconds) < Math.abs(best - seconds) ? point : best));
  const nearest = step > 0 ? Math.round(seconds / step) * step : seconds;
  return Math.max(0, Math.round(nearest * 1000) / 1000);
}

/**
 * The time one step earlier or later, on the grid.
 * @param {number} seconds
 * @param {number} steps negative: earlier
 * @param {{step: number, points: number[]}} grid
 */
export function nudged(seconds, steps, { step, points }) {
  if (points.length) {
    const sorted = [...points].sort((a, b) => a - b);
    const next = steps > 0 ? sorted.filter((p) => p > seconds + 1e-6) : sorted.filter((p) => p < seconds - 1e-6).reverse();
    return next[Math.min(Math.abs(steps), next.length) - 1] ?? seconds;
  }
  const by = step || 0.001;
  const cell = seconds / by;
  const from = steps > 0 ? Math.floor(cell + 1e-6) : Math.ceil(cell - 1e-6);
  return Math.max(0, Math.round((from + steps) * by * 1000) / 1000);
}

/** An event in words, for screen readers and tooltips. @param {PlacedEvent} event */
export function described(event) {
  const streams = event.heard && event.seen ? "seen and heard" : event.seen ? "seen, silent" : "heard, not seen";
  const until = event.end == null ? "" : ` to ${Number(event.end.toFixed(3))}`;
  const place = event.words.length ? ` ${event.where},` : "";
  return `${event.what} at ${Number(event.when.toFixed(3))}${until} seconds,${place} ${streams}${event.muted ? ", muted" : ""}`;
}

/** "1 event", "2 events". @param {number} count @param {string} thing */
export function counted(count, thing) {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}

/**
 * Events at the given times, without those that the timeline already has within 10 ms.
 * @param {number[]} times
 * @param {string} what
 * @param {{when: number, what: string}[]} present
 */
export function eventsAt(times, what, present) {
  const taken = present.filter((event) => event.what === what).map((event) => event.when);
  const free = times.filter((time) => !taken.some((other) => Math.abs(other - time) < 0.01));
  return free.map((when) => ({ when, what, where: "middle", heard: true, seen: true }));
}
