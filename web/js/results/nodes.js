// The pack's nodes on the page, with the numbers that a run knows them by.

import { app } from "../../../../scripts/app.js";

export const OURS = "Exo2Ego";

const rootGraph = () => app.rootGraph ?? app.graph;

/** Every node of the pack with its number; those in subgraphs have the numbers around them before theirs. */
export function* nodesOf(graph = rootGraph(), before = "") {
  for (const node of graph?._nodes ?? []) {
    if (node.comfyClass?.startsWith(OURS)) yield [node, `${before}${node.id}`];
    if (node.subgraph) yield* nodesOf(node.subgraph, `${before}${node.id}:`);
  }
}

/** @returns {object} the page's graph as it is now, serialized */
export const workflowNow = () => rootGraph()?.serialize() ?? { nodes: [] };
