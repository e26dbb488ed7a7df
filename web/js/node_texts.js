// What a node of the pack says stands on the node: coverage, depth ranges, warnings. Frontends from 1.54 on take a node's
// text away when the run ends, so that it is a widget of the pack, made of the node's `ui` output.
//
// A subgraph's node shows what those inside say.
//
// A text belongs to a graph (results/): where the graph changes, its warnings go and the rest fades until the next run.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { addElement, dropElement } from "./dom_widget.js";
import { hostsOf, nodesOf, OURS, workflowNow } from "./results/nodes.js";
import { onResults, recall, resultOf, takeLive } from "./results/store.js";

const TEXT = "exo2ego_text"; // nodes/common/progress.py has both
const WARNING = "exo2ego_warning";
const SAID = "Warning: "; // before a warning in a text that is sent while the node runs
const MARGIN = 20; // around a DOM widget, both sides together
const MOST_HEIGHT = 300; // layout pixels; longer texts scroll
const DELAY = 100; // ms, for changes that come together

const CSS = `
.exo2ego-texts { box-sizing: border-box; width: 100%; max-height: ${MOST_HEIGHT}px; overflow: auto; font-size: 12px; line-height: 1.35;
  color: var(--input-text, #ddd); user-select: text; cursor: text; }
.exo2ego-texts > div { display: flex; flex-direction: column; gap: 4px; }
.exo2ego-texts p { margin: 0; white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; }
.exo2ego-texts .exo2ego-warning { padding: 4px 8px; border-left: 3px solid #ffb02e; border-radius: 4px; background: rgba(255, 176, 46, 0.16); }
.exo2ego-texts .exo2ego-warning::before { content: "\\26a0\\fe0e  "; color: #ffb02e; }
.exo2ego-texts .exo2ego-note { font-style: italic; }
.exo2ego-texts.exo2ego-former { opacity: 0.55; }
`;

const shown = new WeakMap(); // node to {root, inside, widget, said}

const paragraph = (className, text) => Object.assign(document.createElement("p"), { className, textContent: text });

function addStyle() {
  const style = Object.assign(document.createElement("style"), { textContent: CSS });
  document.head.append(style);
}

function make(node) {
  const root = Object.assign(document.createElement("div"), { className: "exo2ego-texts" });
  const inside = document.createElement("div");
  root.append(inside);
  root.dataset.captureWheel = "true"; // the Vue renderer would zoom the graph
  for (const name of ["pointerdown", "dblclick", "wheel"]) root.addEventListener(name, (event) => event.stopPropagation());
  const height = () => Math.min(inside.offsetHeight || 18, MOST_HEIGHT) + MARGIN;
  const widget = addElement(node, "texts", root, { getMinHeight: height, getMaxHeight: height });
  let former = 0;
  new ResizeObserver(() => {
    if (inside.offsetHeight !== former) makeRoom(node);
    former = inside.offsetHeight;
  }).observe(inside);
  const made = { root, inside, widget };
  shown.set(node, made);
  return made;
}

function makeRoom(node) {
  const needed = node.computeSize();
  if (needed[1] > node.size[1]) node.setSize([node.size[0], needed[1]]);
  node.graph?.setDirtyCanvas(true, true);
}

function remove(node) {
  const { widget, root } = shown.get(node);
  shown.delete(node);
  dropElement(root);
  root.remove();
  if (node.removeWidget) return node.removeWidget(widget);
  widget.onRemove?.();
  node.widgets.splice(node.widgets.indexOf(widget), 1);
}

function show(node, output) {
  const said = output && TEXT in output ? { texts: output[TEXT], warnings: output[WARNING] ?? [] } : null;
  const before = shown.get(node)?.said;
  if (!said && !before) return;
  if (said && !said.texts.length && !said.warnings.length) return before && remove(node);
  const { texts, warnings } = said ?? { texts: before.texts, warnings: [] };
  const note = said ? [] : [paragraph("exo2ego-note", "The graph has changed since. Run it to see this anew.")];
  const made = shown.get(node) ?? make(node);
  const shows = JSON.stringify([texts, warnings, !said]);
  if (made.shows === shows) return; // what is marked with the mouse stays so
  [made.said, made.shows] = [said ?? before, shows];
  made.root.classList.toggle("exo2ego-former", !said);
  made.root.setAttribute("role", "status");
  const lines = [...warnings.map((text) => paragraph("exo2ego-warning", text)), ...texts.map((text) => paragraph("", text)), ...note];
  made.inside.replaceChildren(...lines);
}

// What the nodes in a subgraph say, on the node that stands for it: nobody should have to open it to be warned.
function summary(said) {
  const known = said.filter(([, output]) => output && TEXT in output);
  if (!known.length) return undefined;
  const lines = (name, shorten) => known.flatMap(([node, output]) => (output[name] ?? []).map((text) => `${node.title}: ${shorten(text)}`));
  return { [TEXT]: lines(TEXT, (text) => text.split("\n")[0]), [WARNING]: lines(WARNING, (text) => text) };
}

let waiting = null;
function refresh() {
  waiting ??= setTimeout(() => {
    waiting = null;
    const nodes = [...nodesOf()];
    const workflow = nodes.length && workflowNow();
    for (const [node, path] of nodes) show(node, resultOf(workflow, path));
    for (const [host, inside] of hostsOf()) show(host, summary(inside.map(([node, path]) => [node, resultOf(workflow, path)])));
  }, DELAY);
}

// A text that comes while a node runs. Returns whether it is one of the pack's nodes.
function live({ nodeId, text }) {
  const lines = (text ?? "").split("\n");
  const warnings = lines.filter((line) => line.startsWith(SAID)).map((line) => line.slice(SAID.length));
  const texts = lines.filter((line) => line && !line.startsWith(SAID));
  // What comes once the node is done, such as when sampling starts, takes no warning of it away.
  const change = (before) => ({ ...before, [TEXT]: texts, [WARNING]: [...new Set([...(before[WARNING] ?? []), ...warnings])] });
  return takeLive(nodeId, change, workflowNow());
}

// The frontend would show it a second time, in a widget of its own: its listener came first, so that an event cannot be
// stopped, but it can be kept from being sent.
const dispatch = api.dispatchCustomEvent;
api.dispatchCustomEvent = function (type, detail) {
  return type === "progress_text" && live(detail) ? true : dispatch.call(this, type, detail);
};

addStyle();
api.addEventListener("graphChanged", refresh);
for (const name of ["pointerup", "keyup"]) addEventListener(name, refresh, { capture: true }); // not every change is told
onResults(refresh);
app.registerExtension({
  name: "exo2ego.texts",
  setup: recall,
  nodeCreated(node) {
    if (node.comfyClass?.startsWith(OURS)) refresh();
  },
  afterConfigureGraph: refresh,
});
