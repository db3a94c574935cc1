// The two canvases of the editor: ruler and waveform above the lanes, and what is behind the marks.
import { LANE, NAMES, ROW, RULER, WAVE } from "./style.js";
import { rulerLabel, rulerStep } from "./view.js";

/**
 * @typedef {object} Scene
 * @property {number} width visible width in pixels, including the column of names
 * @property {number} scroll
 * @property {number} top
 * @property {number} height visible height of the lanes
 * @property {number} pixelsPerSecond
 * @property {number} seconds length of the clip
 * @property {number | null} cursor
 * @property {number[]} points beats or onsets
 * @property {{peaks: number[], seconds: number} | null} wave peaks are 0 to 1, evenly spaced
 * @property {{colour: string, events: {when: number, heard: boolean, seen: boolean, where: string}[]}[]} lanes
 * @property {boolean} ticks draw every event as a tick, because there are too many for marks
 */

/** A canvas in device pixels, cleared. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
function prepared(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.max(1, width * scale);
  canvas.height = Math.max(1, height * scale);
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  g.font = "10px sans-serif";
  return g;
}

/** @param {Scene} scene @param {number} seconds */
const x = (scene, seconds) => NAMES + seconds * scene.pixelsPerSecond - scene.scroll;

/** Where the graph begins and ends on screen: nothing is drawn under the names. @param {CanvasRenderingContext2D} g @param {Scene} scene */
function clip(g, scene, height) {
  g.beginPath();
  g.rect(NAMES, 0, scene.width - NAMES, height);
  g.clip();
}

/** Vertical lines of beats, the cursor and the end of the clip. */
function lines(g, scene, height, colour) {
  g.fillStyle = "#ffd166";
  g.globalAlpha = 0.45;
  for (const point of scene.points) g.fillRect(x(scene, point), 0, 1, height);
  g.globalAlpha = 0.12;
  g.fillStyle = colour;
  const end = x(scene, scene.seconds);
  g.fillRect(end, 0, Math.max(0, scene.width - end), height);
  g.globalAlpha = 1;
  if (scene.cursor !== null) {
    g.fillStyle = "#6cb4ff";
    g.fillRect(x(scene, scene.cursor) - 0.5, 0, 1.5, height);
  }
}

/** @param {CanvasRenderingContext2D} g @param {Scene} scene @param {string} colour */
function waveform(g, scene, colour) {
  const { peaks, seconds } = scene.wave;
  const middle = RULER + WAVE / 2;
  g.fillStyle = colour;
  for (let column = NAMES; column < scene.width; column++) {
    const from = (column - NAMES + scene.scroll) / scene.pixelsPerSecond;
    const first = Math.floor((from / seconds) * peaks.length);
    const last = Math.ceil(((from + 1 / scene.pixelsPerSecond) / seconds) * peaks.length);
    if (first >= peaks.length) break;
    const peak = Math.max(...peaks.slice(first, Math.max(last, first + 1)));
    const half = Math.max(0.5, peak * (WAVE / 2 - 2));
    g.fillRect(column, middle - half, 1, 2 * half);
  }
}

/** Ruler and waveform. @param {HTMLCanvasElement} canvas @param {Scene} scene */
export function drawHead(canvas, scene) {
  const height = RULER + (scene.wave ? WAVE : 0);
  const g = prepared(canvas, scene.width, height);
  const colour = getComputedStyle(canvas).color;
  if (scene.wave) {
    g.fillStyle = colour;
    g.fillText("audio", 4, RULER + WAVE / 2 + 3);
  }
  clip(g, scene, height);
  if (scene.wave) waveform(g, scene, "#7fb38a");
  lines(g, scene, height, colour);
  const step = rulerStep(scene.pixelsPerSecond);
  g.fillStyle = colour;
  for (let k = Math.floor(scene.scroll / scene.pixelsPerSecond / step); x(scene, k * step) < scene.width; k++) {
    g.fillRect(x(scene, k * step), RULER - 6, 1, 6);
    const label = rulerLabel(k * step, step);
    g.fillText(label, Math.min(x(scene, k * step) + 3, scene.width - g.measureText(label).width - 2), RULER - 7);
  }
}

/** Rows of the lanes, vertical lines and, if there are too many events for marks, a tick for each. @param {HTMLCanvasElement} canvas @param {Scene} scene */
export function drawGround(canvas, scene) {
  const g = prepared(canvas, scene.width, scene.height);
  const colour = getComputedStyle(canvas).color;
  clip(g, scene, scene.height);
  const first = Math.max(0, Math.floor(scene.top / LANE));
  scene.lanes.slice(first, Math.ceil((scene.top + scene.height) / LANE)).forEach((lane, k) => {
    const y = (first + k) * LANE - scene.top;
    g.globalAlpha = 0.18;
    g.fillStyle = colour;
    for (const row of [0.5, 1.5, 2.5]) g.fillRect(NAMES, y + row * ROW, scene.width, 1);
    g.globalAlpha = 0.1;
    g.fillRect(NAMES, y + 3 * ROW, scene.width, LANE - 3 * ROW - 2);
    g.globalAlpha = 1;
    if (scene.ticks) ticks(g, scene, lane, y);
  });
  lines(g, scene, scene.height, colour);
}

/** @param {CanvasRenderingContext2D} g @param {Scene} scene @param {Scene["lanes"][number]} lane @param {number} y */
function ticks(g, scene, lane, y) {
  g.fillStyle = lane.colour;
  for (const event of lane.events) {
    const at = x(scene, event.when);
    if (at < NAMES || at > scene.width) continue;
    if (event.seen) g.fillRect(at, y, 1, 3 * ROW - 2);
    if (event.heard) g.fillRect(at, y + 3 * ROW, 1, LANE - 3 * ROW - 3);
  }
}
