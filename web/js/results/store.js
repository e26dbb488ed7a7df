// What runs said of the pack's nodes, by what it depends on (`keys.js`): it is there again after a change back, in another
// tab and after a reload, when the server's history is asked. Other clients' jobs are none of it, unless they ran this graph.

import { api } from "../../../../scripts/api.js";
import { isMadeOf, keyOf, typeOf } from "./keys.js";
import { OURS } from "./nodes.js";

const MOST_RESULTS = 1000;
const MOST_PROMPTS = 50;
const MOST_HISTORY = 32;

const results = new Map(); // by key; the newest last
const workflows = new Map(); // of prompts that this page queued, by the prompt's id
const early = new Map(); // what came before the answer to the queueing, by the prompt's id
const listeners = new Set();
let running = null; // the prompt's id

/** Be told when something new is there. */
export const onResults = (listener) => listeners.add(listener);

/**
 * @param {object} workflow serialized
 * @param {string} path the node's number
 * @param {{own?: boolean}} options own false: whatever the node's own values were
 * @returns {object | undefined} the node's `ui` output of the last such run
 */
export const resultOf = (workflow, path, { own = true } = {}) => results.get(named(keyOf(workflow, path, { own }), own));

const named = (key, own) => (own ? key : `before ${key}`);

function keep(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
}

function take(workflow, path, output) {
  if (!output || !typeOf(workflow, path)?.startsWith(OURS)) return false;
  for (const own of [true, false]) keep(results, named(keyOf(workflow, path, { own }), own), output, MOST_RESULTS);
  return true;
}

const tell = () => listeners.forEach((listener) => listener());

function remember(id, workflow) {
  keep(workflows, id, structuredClone(workflow), MOST_PROMPTS);
  const waiting = early.get(id) ?? [];
  early.delete(id);
  if (waiting.map(([path, output]) => take(workflow, path, output)).some(Boolean)) tell();
}

function executed({ detail }) {
  const path = detail.display_node ?? detail.node;
  const workflow = workflows.get(detail.prompt_id);
  if (!workflow) keep(early, detail.prompt_id, [...(early.get(detail.prompt_id) ?? []), [path, detail.output]], MOST_PROMPTS);
  else if (take(workflow, path, detail.output)) tell();
}

/**
 * Take a text that a node sends while something runs.
 * @param {string} path the node's number
 * @param {(before: object) => object} change makes its `ui` output of the former one
 * @param {object} now the page's graph, serialized: it counts where the run began before the page was loaded
 * @returns {boolean} whether it is one of the pack's nodes
 */
export function takeLive(path, change, now) {
  const workflow = workflows.get(running);
  if (!workflow) return Boolean(typeOf(now, path)?.startsWith(OURS));
  if (!typeOf(workflow, path)?.startsWith(OURS)) return false;
  const key = keyOf(workflow, path);
  keep(results, key, change(results.get(key) ?? {}), MOST_RESULTS);
  tell();
  return true;
}

/** Ask the server what it ran: the page was closed meanwhile, or loaded anew. */
export async function recall() {
  try {
    const response = await api.fetchApi(`/history?max_items=${MOST_HISTORY}`);
    const entries = Object.values(await response.json());
    const found = entries.flatMap(({ prompt, outputs }) => {
      const workflow = prompt[3]?.extra_pnginfo?.workflow;
      if (!workflow || !isMadeOf(workflow, prompt[2])) return [];
      return Object.entries(outputs ?? {}).map(([path, output]) => take(workflow, path, output));
    });
    if (found.some(Boolean)) tell();
  } catch (error) {
    console.warn("Exo2Ego: the server's history cannot be read.", error);
  }
}

// Which graph a prompt was made of is known only here, until the server has it in its history.
const queuePrompt = api.queuePrompt;
api.queuePrompt = async function (number, prompt, ...rest) {
  const answer = await queuePrompt.call(this, number, prompt, ...rest);
  if (answer?.prompt_id && prompt?.workflow) remember(answer.prompt_id, prompt.workflow);
  return answer;
};
api.addEventListener("executed", executed);
api.addEventListener("execution_start", ({ detail }) => (running = detail.prompt_id));
api.addEventListener("execution_success", ({ detail }) => workflows.has(detail.prompt_id) || recall());
api.addEventListener("reconnected", recall);
