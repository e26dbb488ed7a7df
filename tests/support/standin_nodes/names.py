"""A name that comes through a link, as from packs that pick files by their own rules."""

from __future__ import annotations

from comfy_api.latest import io


class StandInName(io.ComfyNode):
    """Hands on a text as a choice: stock text nodes give STRING, which ComfyUI does not let into a list of choices."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StandInName",
            category="testing",
            inputs=[io.String.Input("name")],
            outputs=[io.Custom("COMBO").Output()],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(name)
