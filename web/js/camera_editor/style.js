// The editor's looks: ComfyUI's theme colors, nothing that reaches outside the editor.

const CSS = `
.e2e { container-type: inline-size; position: relative; display: flex; box-sizing: border-box;
  width: 100%; height: 100%; min-height: 600px; overflow: hidden; border-radius: 8px;
  background: var(--comfy-menu-bg, #353535); color: var(--input-text, #ddd); font-size: 12px; line-height: 1.3; font-family: inherit; user-select: none; }
.e2e * { box-sizing: border-box; }
.e2e-body { display: flex; flex-direction: column; gap: 6px; flex: 1; min-width: 0; padding: 6px; }
.e2e [hidden] { display: none !important; }
.e2e-keys { position: absolute; width: 1px; height: 1px; padding: 0; border: 0; opacity: 0; resize: none; pointer-events: none; }
.e2e-bar, .e2e-transport, .e2e-panel { display: flex; flex-wrap: wrap; align-items: center; gap: 4px; flex: none; }
.e2e-gap { width: 10px; }
.e2e-far { flex: 1; }
.e2e button, .e2e select, .e2e input { height: 26px; border: 1px solid var(--border-color, #4e4e4e); border-radius: 5px;
  background: var(--comfy-input-bg, #222); color: inherit; font: inherit; outline-offset: 1px; }
.e2e button { display: inline-flex; align-items: center; gap: 5px; padding: 0 7px; cursor: pointer; }
.e2e button:hover, .e2e select:hover { border-color: var(--descrip-text, #999); }
.e2e button[aria-pressed="true"] { border-color: #ffb02e; color: #ffb02e; }
.e2e button svg { width: 14px; height: 14px; fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linecap: round;
  stroke-linejoin: round; flex: none; }
.e2e select { padding: 0 4px; max-width: 172px; }
.e2e input { padding: 0 4px; width: 66px; text-align: right; font-variant-numeric: tabular-nums; appearance: textfield; user-select: text; }
.e2e input::-webkit-inner-spin-button { display: none; }
.e2e input:disabled { opacity: 0.45; }
.e2e :is(button, select, input):focus-visible { outline: 2px solid #ffb02e; }
.e2e-metres { display: inline-flex; align-items: center; gap: 4px; color: var(--descrip-text, #999); }
.e2e-metres input { width: 52px; color: var(--input-text, #ddd); }
.e2e-views { display: grid; grid-template: minmax(0, 1.45fr) minmax(0, 1fr) / minmax(0, 1.75fr) minmax(0, 1fr); gap: 6px; flex: 1; min-height: 0; }
.e2e-view { position: relative; overflow: hidden; border-radius: 6px; min-width: 0; min-height: 0; background: var(--comfy-input-bg, #222); }
.e2e-view canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; touch-action: none; }
.e2e-front { grid-area: 1 / 1 / 3 / 2; }
.e2e:is(:fullscreen, :popover-open) { position: fixed; inset: 0; width: 100vw; height: 100vh; margin: 0; padding: 0; border: 0; border-radius: 0; }
.e2e-ego-box select { position: absolute; right: 6px; bottom: 6px; height: 24px; opacity: 0.85; }
.e2e-timeline-box { flex: none; height: 102px; }
.e2e-curves-box { flex: 0 1 190px; min-height: 110px; }
.e2e-views:has(~ .e2e-curves-box:not([hidden])) { min-height: 150px; }
.e2e-curve-bar .e2e-channel { padding: 0 8px; border-left: 3px solid var(--channel); }
.e2e-curve-bar .e2e-channel[aria-pressed="true"] { border-color: var(--channel); color: var(--channel); }
.e2e-text-box { position: absolute; inset: 6px; z-index: 3; display: flex; flex-direction: column; gap: 8px; padding: 16px; border-radius: 6px;
  background: var(--comfy-menu-bg, #353535); border: 1px solid var(--border-color, #4e4e4e); }
.e2e-text { flex: 1; min-height: 0; resize: none; padding: 8px; border: 1px solid var(--border-color, #4e4e4e); border-radius: 5px;
  background: var(--comfy-input-bg, #222); color: inherit; font: 12px/1.4 monospace; user-select: text; }
.e2e-fault { color: #ff8a80; }
.e2e-fault:empty { display: none; }
.e2e-caption, .e2e-badge, .e2e-message { position: absolute; padding: 2px 7px; border-radius: 4px; background: rgba(0, 0, 0, 0.62);
  color: #fff; pointer-events: none; }
.e2e-caption { top: 6px; left: 6px; }
.e2e-badge { top: 6px; right: 6px; font-variant-numeric: tabular-nums; }
.e2e-badge:empty, .e2e-message:empty { display: none; }
.e2e-badge.e2e-low { background: #b3261e; }
.e2e-message { left: 6px; right: 6px; bottom: 6px; padding: 5px 9px; white-space: pre-line; }
.e2e-message.e2e-tool { background: #ffb02e; color: #1a1a1a; }
.e2e-empty { position: absolute; inset: 0; display: flex; flex-direction: column; align-items: center; justify-content: center; gap: 6px;
  padding: 24px; text-align: center; pointer-events: none; background: rgba(0, 0, 0, 0.55); color: #fff; }
.e2e-empty b { font-size: 16px; }
.e2e-empty span { color: #ccc; max-width: 44ch; }
.e2e-panel { gap: 6px; }
.e2e-panel fieldset { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; margin: 0; padding: 0 8px 0 0; border: 0; min-width: 0; }
.e2e-panel legend { float: left; padding: 0 2px 0 0; font-weight: 600; }
.e2e-panel label { display: inline-flex; align-items: center; gap: 3px; color: var(--descrip-text, #999); }
.e2e-panel label input { color: var(--input-text, #ddd); }
.e2e-help { position: absolute; inset: 6px; z-index: 2; columns: 270px; column-gap: 28px; padding: 20px 24px; overflow: auto;
  border-radius: 6px; background: rgba(16, 16, 18, 0.95); color: #eee; cursor: pointer; }
.e2e-help section { break-inside: avoid; padding-bottom: 14px; }
.e2e-help h4 { margin: 0 0 6px; font-size: 13px; color: #ffb02e; }
.e2e-help div { display: grid; grid-template-columns: 128px 1fr; gap: 10px; padding: 2.5px 0; }
.e2e-help kbd { font: inherit; font-size: 11px; font-weight: 600; color: #fff; }
.e2e-help span { color: #c8c8c8; }
/* Nodes 2.0 and App mode have controls of their own: filled, without a border. */
[data-node-id] .e2e { background: transparent; }
[data-node-id] .e2e :is(button, select, input):not(.e2e-channel) { border-color: transparent; border-radius: 8px;
  background: var(--component-node-widget-background, var(--comfy-input-bg, #222)); }
[data-node-id] .e2e :is(button, select, input):hover { background: var(--component-node-widget-background-hovered, var(--comfy-input-bg, #222)); }
[data-node-id] .e2e:is(:fullscreen, :popover-open) { background: var(--comfy-menu-bg, #353535); }
@container (max-width: 900px) { .e2e-bar button:has(svg) { font-size: 0; gap: 0; } }
@container (max-width: 560px) {
  .e2e-views { grid-template: minmax(260px, 1.6fr) minmax(170px, 1fr) / minmax(0, 1fr) minmax(0, 1fr); min-height: 436px; }
  .e2e-front { grid-area: 1 / 1 / 2 / 3; }
  .e2e-gap { display: none; }
  .e2e-panel fieldset { padding: 0; }
  .e2e-panel input { width: 56px; }
  .e2e-panel select { flex: 1; max-width: none; }
  .e2e-badge { top: 30px; left: 6px; right: auto; }
  .e2e-help { columns: 1; padding: 14px 16px; }
}
`;

/** Put the style sheet into the page, once. */
export function addStyle() {
  if (document.getElementById("exo2ego-camera-editor")) return;
  const style = document.createElement("style");
  style.id = "exo2ego-camera-editor";
  style.textContent = CSS;
  document.head.append(style);
}
