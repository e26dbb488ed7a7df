// A part of a node that is a page's own element, on every frontend, classic and Nodes 2.0.

import { app } from "../../../scripts/app.js";

const LOOK_EVERY = 250; // ms
const MARK = "exo2ego-element";

// App mode as frontend 1.32 has it gives each node's widgets 400 px at most: what is higher lies over the next ones.
const CSS = `.contain-size > .lg-node-widgets:has(.${MARK}) { max-height: none; flex: none; }`;
document.head.append(Object.assign(document.createElement("style"), { textContent: CSS }));

const placed = new Map(); // root to {node, className}

/**
 * Put an element on a node.
 * @param {object} node
 * @param {string} name of the widget
 * @param {HTMLElement} root its first class name is found on the screen
 * @param {object} options of `addDOMWidget`
 * @returns {object} the widget; it has no value and is saved with no workflow
 */
export function addElement(node, name, root, options = {}) {
  // The side panel would show an empty row; where a frontend does not know `hideInPanel` it also writes its own width into
  // the widget, and the node's part would keep it for good.
  const all = { serialize: false, hideOnZoom: false, hideInPanel: true, ...options };
  const widget = node.addDOMWidget(name, `exo2ego_${name}`, root, all);
  widget.serialize = false;
  Object.defineProperty(widget, "width", { get: () => undefined, set: () => {}, configurable: true });
  placed.set(root, { node, className: root.classList[0] });
  root.classList.add(MARK);
  return widget;
}

/** Forget an element that leaves its node. */
export const dropElement = (root) => placed.delete(root);

// Nodes 2.0 keep the element of a node that an undo, or another graph with the same numbers, has replaced: what is on the
// screen is dead, and the living one is nowhere.
function replaceFormer() {
  for (const [root, { node, className }] of placed) {
    if (root.isConnected) continue;
    if (!node.graph || node.graph.getNodeById(node.id) !== node) placed.delete(root);
    else if (node.graph === app.canvas?.graph) document.querySelector(`[data-node-id="${node.id}"] .${className}`)?.replaceWith(root);
  }
}

setInterval(() => globalThis.LiteGraph?.vueNodesMode && replaceFormer(), LOOK_EVERY);
