// Camera Editor: the 3D editor on the node Exo2EgoCameraEditor.
//
// The widget `trajectory` is the only truth; the editor is a DOM widget that shows and writes it. What a run sent stays in
// the node's properties, so that it is there after a reload for as long as the server keeps its temporary files.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { addElement } from "./dom_widget.js";
import { Editor } from "./camera_editor/editor.js";
import { nodesOf, workflowNow } from "./results/nodes.js";
import { onResults, resultOf } from "./results/store.js";

const NODE = "Exo2EgoCameraEditor";
const ANSWER = "exo2ego_editor";
const VIEW = "exo2ego_view";
const SIZE = [1180, 900];
const LEAST_SIZE = [740, 620];

function chained(before, after) {
  return function (...args) {
    const result = before?.apply(this, args);
    after.apply(this, args);
    return result;
  };
}

const address = ({ filename, subfolder, type }) => api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

// One edit is one step of the graph's own undo.
function asOneStep(change) {
  app.canvas?.emitBeforeChange?.();
  try {
    change();
  } finally {
    app.canvas?.emitAfterChange?.();
  }
}

// What runs of this very graph sent while the page was closed, or asked by another page.
const showing = new WeakMap(); // node to (output) => void
function showResults() {
  const nodes = [...nodesOf()].filter(([node]) => showing.has(node));
  const workflow = nodes.length && workflowNow();
  for (const [node, path] of nodes) showing.get(node)(resultOf(workflow, path, { own: false }));
}

function attach(node) {
  const text = node.widgets?.find((widget) => widget.name === "trajectory");
  if (!text) return;
  text.hidden = true; // the canvas' way
  text.options.hidden = true; // the Vue renderer's way
  text.computeLayoutSize = () => ({ minHeight: 0, maxHeight: 0, minWidth: 0 });

  const nearWidget = node.widgets.find((widget) => widget.name === "near");
  const isLinked = (name) => node.inputs?.some((slot) => slot.name === name && slot.link != null) ?? false;
  const editor = new Editor({
    node: () => node,
    write: (value) => asOneStep(() => {
      text.value = value;
      text.callback?.(value);
    }),
    keepView: (view) => (node.properties[VIEW] = view),
    near: () => (isLinked("near") ? null : nearWidget?.value),
    setNear: (metres) => asOneStep(() => {
      nearWidget.value = metres;
      nearWidget.callback?.(metres);
    }),
    isLinked: () => isLinked("trajectory"),
    startIsLinked: () => isLinked("start_camera") || isLinked("load3d_camera"),
  });
  if (nearWidget) nearWidget.callback = chained(nearWidget.callback, () => editor.redraw());
  text.beforeQueued = chained(text.beforeQueued, () => editor.flush());
  text.callback = chained(text.callback, (value) => editor.loadText(value ?? ""));

  const answered = (output) => output?.[ANSWER]?.[0];
  const show = (payload) => editor.loadPayload(payload, address);
  showing.set(node, (output) => {
    const payload = answered(output) ?? (editor.lost ? node.properties[ANSWER] : null); // another run may have made it again
    if (payload) show(payload);
  });
  node.onExecuted = chained(node.onExecuted, (output) => {
    const payload = answered(output);
    if (!payload) return;
    node.properties[ANSWER] = payload;
    show(payload);
  });
  // After reload, paste and undo of the graph. Outputs are put back after the nodes are made.
  node.onConfigure = chained(node.onConfigure, () => {
    editor.loadText(text.value ?? "");
    editor.loadView(node.properties[VIEW]);
    setTimeout(() => {
      show(answered(app.nodeOutputs?.[node.id]) ?? node.properties[ANSWER]);
      showResults(); // the graph may have been stored before its last run ended
    });
  });
  setTimeout(showResults);
  node.onConnectionsChange = chained(node.onConnectionsChange, () => editor.redraw());
  node.onRemoved = chained(node.onRemoved, () => editor.dispose());

  const widget = addElement(node, "editor", editor.root);
  widget.computeLayoutSize = () => ({ minHeight: LEAST_SIZE[1], maxHeight: undefined, minWidth: LEAST_SIZE[0] });
  node.setSize([Math.max(node.size[0], SIZE[0]), Math.max(node.size[1], SIZE[1])]);
  /** For scripts and tests: `state()`, `poses()`, `placeOf()`; see `camera_editor/editor.js`. */
  node.exo2egoEditor = editor;
}

onResults(showResults);
api.addEventListener("reconnected", showResults);
document.addEventListener("visibilitychange", () => document.hidden || showResults());
app.registerExtension({
  name: "exo2ego.camera_editor",
  nodeCreated(node) {
    if (node.comfyClass === NODE) attach(node);
  },
});
