"""The two-view prompt."""

from __future__ import annotations

from comfy_api.latest import io

from ..wan.prompt import TEXT_TOKENS, VLM_INSTRUCTION, estimated_tokens, two_view_prompt
from .progress import show_text, warn
from .schema import schema


class Exo2EgoPrompt(io.ComfyNode):
    """Four descriptions as EgoX's two-block prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def text(name: str, tooltip: str) -> io.Input:
            return io.String.Input(name, default="", multiline=True, tooltip=tooltip)

        return schema(
            "Exo2EgoPrompt",
            "Two-View Prompt",
            "conditioning",
            "Lays out the prompt as EgoX was trained with: scene and action, for both views. The second output is the "
            "paper's instruction for a vision-language model that writes such prompts from frames.",
            search_aliases=["egox prompt", "vlm instruction", "caption"],
            inputs=[
                text("exo_scene", "The place and its objects as the third-person camera sees them."),
                text("exo_action", "What the person and the hands do over the clip, from outside."),
                text("ego_scene", "The same place as the person sees it."),
                text("ego_action", "The same actions as the person sees them."),
            ],
            outputs=[
                io.String.Output("prompt", display_name="prompt"),
                io.String.Output(
                    "vlm_instruction",
                    display_name="VLM instruction",
                    tooltip="Give this and a few frames to a vision-language model (paper, Table 6).",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, exo_scene: str, exo_action: str, ego_scene: str, ego_action: str) -> io.NodeOutput:
        prompt = two_view_prompt(exo_scene, exo_action, ego_scene, ego_action)
        tokens = estimated_tokens(prompt)
        if tokens > TEXT_TOKENS:
            warn(cls, f"About {tokens} tokens; the model reads the first {TEXT_TOKENS}, so the ego view may be cut.")
        else:
            show_text(cls, f"About {tokens} of {TEXT_TOKENS} tokens.")
        return io.NodeOutput(prompt, VLM_INSTRUCTION)


NODES = [Exo2EgoPrompt]
