"""Steps that compute the ego view alone."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io

from ...wan.reuse.apply import apply_reuse
from ...wan.reuse.plan import Keep, ReuseSettings, described_every
from ..common.progress import show_text
from ..common.schema import schema

_KEEPS = [keep.value for keep in Keep]
_MOST = 1000


class Exo2EgoReuse(io.ComfyNode):
    """A MODEL that reuses the exo view's keys and values."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoReuse",
            "Exo Reuse",
            "egox",
            "Faster EgoX: of every few steps one runs in full, and the steps after it compute the ego view alone, with "
            "the exo view's keys and values of that step.",
            search_aliases=["cache", "faster", "speed", "KV cache"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="Before or after EgoX Apply, Geometry-Guided Attention, Long Clip and LoRAs."
                ),
                io.Int.Input(
                    "every",
                    default=2,
                    min=1,
                    max=_MOST,
                    tooltip="One of so many steps runs in full. 1: off, as without this node. 2: every other step. "
                    f"{_MOST}: the first step alone.",
                ),
                io.Combo.Input(
                    "keep",
                    options=_KEEPS,
                    default=Keep.AUTO.value,
                    tooltip="Where keys and values wait. auto: the first that has room. device: on the card as "
                    "they are. device fp8: on the card in half the size, a little less exact. host: in pinned main "
                    "memory, from where they travel while the card computes.",
                ),
            ],
            outputs=[io.Model.Output("model_with_reuse", display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: Any, every: int, keep: str = Keep.AUTO.value) -> io.NodeOutput:
        patched = apply_reuse(model, ReuseSettings(every, Keep(keep)), partial(show_text, cls))
        text = described_every(every)
        show_text(cls, f"{text[0].upper()}{text[1:]}.")
        return io.NodeOutput(patched)


NODES = [Exo2EgoReuse]
