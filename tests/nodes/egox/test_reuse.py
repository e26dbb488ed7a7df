"""Exo Reuse over HTTP, in the graph of a take: off as without it, on otherwise."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from support.graphs import egox_graph, node_id, only_outputs, recorded, with_node


def test_off_as_without_and_on_otherwise(comfy_server, comfy_client, small_take):
    def sampled(every: int | None) -> torch.Tensor:
        graph = egox_graph(steps=3)
        if every is not None:
            guided = graph[node_id(graph, "Sampler")]["inputs"]["model"]
            graph = with_node(graph, "940", "Exo2EgoReuse", "Exo reuse", model=guided, every=every, keep="auto")
            graph[node_id(graph, "Sampler")]["inputs"]["model"] = ["940", 0]
        name = f"reuse_{every}.safetensors"
        comfy_client.run(only_outputs(recorded(graph, name), "Record"))
        return load_file(comfy_server.base / "output" / name)["samples"]

    without, off, on = map(sampled, (None, 1, 2))
    assert torch.equal(off, without)
    assert 1e-4 < (on - without).abs().max() < without.abs().max()
