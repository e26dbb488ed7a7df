// What a node's result depends on, as a short key: its type and values, and those of all that lies before it. Equal keys,
// equal results. Read from a serialized workflow, which the page, its undo and the server's history all have.

const AFTER_A_RUN = new Set(["fixed", "increment", "decrement", "randomize"]); // a seed's neighbor: it changes with each run

/**
 * @param {object} workflow serialized, as `graph.serialize()` gives it
 * @param {string | number} path a node's number, or numbers with colons for one in subgraphs
 * @param {{own?: boolean}} options own: whether the node's own values count
 * @returns {string | null} null where there is no such node
 */
export function keyOf(workflow, path, { own = true } = {}) {
  const found = find(workflow, path);
  return found && nodeKey(found, new Map(), own);
}

/** @returns {string | undefined} the type of a node of a serialized workflow */
export const typeOf = (workflow, path) => find(workflow, path)?.node.type;

/**
 * Whether a prompt was made of a workflow as it is: another client may send the workflow of a file with other values.
 * @param {object} workflow serialized
 * @param {object} prompt nodes in API format, by their numbers
 */
export function isMadeOf(workflow, prompt) {
  return Object.entries(prompt).every(([path, { inputs }]) => {
    const found = find(workflow, path);
    if (!found) return false;
    const values = new Set();
    // A value that a subgraph's node shows stands there.
    for (let at = found; at; at = at.scope.outer) for (const value of Object.values(at.node.widgets_values ?? [])) values.add(value);
    return Object.values(inputs ?? {}).every((value) => typeof value === "object" || values.has(value));
  });
}

// A node and the graphs around it, the innermost last.
function find(workflow, path) {
  let scope = { graph: workflow, workflow, outer: null };
  const numbers = String(path).split(":");
  for (const [i, number] of numbers.entries()) {
    const node = scope.graph.nodes?.find((one) => String(one.id) === number);
    if (!node) return null;
    if (i === numbers.length - 1) return { node, scope };
    const graph = definitionOf(workflow, node);
    if (!graph) return null;
    scope = { graph, workflow, outer: { node, scope } };
  }
  return null;
}

const definitionOf = (workflow, node) => workflow.definitions?.subgraphs?.find((one) => one.id === node.type);

function nodeKey({ node, scope }, known, own = true) {
  const name = own ? node : null; // without its own values it is another question
  if (known.has(name)) return known.get(name);
  known.set(name, "circle");
  const inside = definitionOf(scope.workflow, node)?.nodes.map((one) => [one.type, one.mode, kept(one.widgets_values)]);
  const links = (node.inputs ?? []).filter((input) => input.link != null).map((input) => [input.name, linkKey(input.link, scope, known)]);
  const key = hash(JSON.stringify([node.type, node.mode ?? 0, own ? kept(node.widgets_values) : null, inside, links]));
  known.set(name, key);
  return key;
}

function linkKey(number, scope, known) {
  for (const link of scope.graph.links ?? []) {
    const [id, from, slot] = Array.isArray(link) ? link : [link.id, link.origin_id, link.origin_slot];
    if (id !== number) continue;
    const node = scope.graph.nodes.find((one) => one.id === from);
    if (node) return [nodeKey({ node, scope }, known), slot];
    return scope.outer ? nodeKey(scope.outer, known) : null; // from the subgraph's own inputs
  }
  return null;
}

function kept(values) {
  const list = Object.values(values ?? []);
  return list.filter((value, i) => value != null && !(typeof value === "number" && AFTER_A_RUN.has(list[i + 1])));
}

// 53 bits (cyrb53): enough to tell some hundred graphs apart.
function hash(text) {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(36);
}
