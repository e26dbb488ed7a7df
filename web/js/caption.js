// Describe Clip: what the model wrote goes into the node's empty boxes, where it can be changed.
//
// The node sends its four fields as `fields` with a run. Boxes with text, and those that a link fills, are left alone.
// The widgets' values are the only state, so the next run keeps what stands in them and asks no model.

import { app } from "../../../scripts/app.js";

const NODE = "Exo2EgoCaption";
const FIELDS = ["exo_scene", "exo_action", "ego_scene", "ego_action"];

function isLinked(node, name) {
  return Boolean(node.inputs?.some((input) => input.name === name && input.link != null));
}

function fill(node, texts) {
  FIELDS.forEach((name, place) => {
    const widget = node.widgets?.find((one) => one.name === name);
    const text = texts?.[place];
    if (!widget || typeof text !== "string" || !text || widget.value || isLinked(node, name)) return;
    widget.value = text;
    widget.callback?.(text);
  });
  node.graph?.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "exo2ego.caption",
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const before = node.onExecuted;
    node.onExecuted = function (output, ...more) {
      const result = before?.call(this, output, ...more);
      fill(node, output?.fields);
      return result;
    };
  },
});
