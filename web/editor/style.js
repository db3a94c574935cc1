// The editor's style sheet, added to the page once. Colours are those of ComfyUI's theme.

export const NAMES = 76; // width of the column of names, pixels
export const ROW = 11; // height of one place in a lane
export const SOUND = 15; // height of the part of a lane that shows what is heard
export const LANE = 3 * ROW + SOUND + 2;
export const RULER = 18;
export const WAVE = 44;

const SHEET = `
.duet-editor { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; min-height: 240px; box-sizing: border-box;
  font: 11px sans-serif; color: var(--input-text, #ddd); user-select: none; overflow: hidden; }
.duet-editor button, .duet-editor input, .duet-editor select { font: inherit; color: inherit; background: var(--comfy-input-bg, #222);
  border: 1px solid var(--border-color, #4e4e4e); border-radius: 4px; padding: 2px 5px; min-width: 0; }
.duet-editor input[type=checkbox] { vertical-align: middle; }
.duet-editor :focus-visible { outline: 2px solid #6cb4ff; outline-offset: 1px; }
.duet-editor .bar { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; flex: none; }
.duet-editor .bar label { display: flex; gap: 3px; align-items: center; }
.duet-editor .name { width: 84px; } .duet-editor .time { width: 62px; }
.duet-editor .head { width: 100%; flex: none; background: var(--comfy-input-bg, #222); touch-action: none; }
.duet-editor .scroll { flex: 1 1 60px; min-height: ${LANE + 8}px; overflow: auto; background: var(--comfy-input-bg, #222); border-radius: 4px; }
.duet-editor .content { display: grid; position: relative; }
.duet-editor .content > * { grid-area: 1 / 1; }
.duet-editor .ground { position: sticky; left: 0; top: 0; align-self: start; justify-self: start; }
.duet-editor .marks { position: relative; touch-action: none; overflow: hidden; }
.duet-editor .names { position: sticky; left: 0; width: ${NAMES}px; justify-self: start; z-index: 2; background: var(--comfy-input-bg, #222);
  border-right: 1px solid var(--border-color, #4e4e4e); box-sizing: border-box; }
.duet-editor .names div { position: absolute; left: 0; right: 0; padding: 2px 4px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.duet-editor .names div { padding-right: 14px; height: ${LANE}px; box-sizing: border-box; }
.duet-editor .names b { position: absolute; right: 3px; top: 0; font-weight: normal; color: var(--descrip-text, #999); font-size: 8px; }
.duet-editor .names i { display: block; font-style: normal; height: ${ROW}px; line-height: ${ROW}px; }
.duet-editor .names small { display: block; color: var(--descrip-text, #999); font-size: 9px; line-height: 10px; }
.duet-editor .mark { position: absolute; width: 12px; height: 10px; margin: 0 0 0 -6px; padding: 0; border: 1px solid #0008; border-radius: 2px;
  background: var(--lane); cursor: grab; }
.duet-editor .mark.sound { height: 10px; width: 10px; margin-left: -5px; border-radius: 50%; }
.duet-editor .mark.range { border-radius: 3px; }
.duet-editor .mark.muted { background: transparent; border: 1px dashed var(--lane); }
.duet-editor .mark.selected { box-shadow: 0 0 0 2px var(--input-text, #fff); z-index: 1; }
.duet-editor .problems { margin: 0; padding: 0; list-style: none; max-height: 52px; overflow: auto; flex: none; }
.duet-editor .problems li { color: var(--error-text, #ff6b6b); user-select: text; }
.duet-editor .status { min-height: 13px; flex: none; color: var(--descrip-text, #999); }
.duet-editor:focus, .duet-editor .scroll:focus { outline: none; }
.duet-editor .unused { visibility: hidden; }
.duet-editor [hidden] { display: none !important; }
`;

/** Adds the style sheet to the page, once. */
export function addStyle() {
  if (document.getElementById("duet-editor-style")) return;
  const sheet = document.createElement("style");
  sheet.id = "duet-editor-style";
  sheet.textContent = SHEET;
  document.head.append(sheet);
}

/**
 * An element with properties, attributes and children. Text is always set as text, never as HTML.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} properties those with a '-' and `role` are set as attributes
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "list") made.setAttribute(name, String(value));
    else made[name] = value;
  }
  made.append(...children);
  return made;
}
