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

/** Every node that stands for a subgraph, with the pack's nodes inside and their numbers. */
export function* hostsOf(graph = rootGraph(), before = "") {
  for (const node of graph?._nodes ?? []) {
    if (!node.subgraph) continue;
    const path = `${before}${node.id}:`;
    const inside = [...nodesOf(node.subgraph, path)];
    if (inside.length) yield [node, inside];
    yield* hostsOf(node.subgraph, path);
  }
}

/** @returns {object} the page's graph as it is now, serialized */
export const workflowNow = () => rootGraph()?.serialize() ?? { nodes: [] };
