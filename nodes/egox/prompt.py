"""The two-view prompt: its layout and its way through the text encoder."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...wan.egox.prompt import TEXT_TOKENS, estimated_tokens, two_view_prompt
from ...wan.egox.prompt_encoding import encode_prompt
from ...wan.egox.prompt_fit import PromptFit
from ...wan.egox.vlm_instruction import VLM_INSTRUCTION
from ..common.progress import show_text, warn
from ..common.schema import schema

_FITS = [fit.value for fit in PromptFit]


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
            "Lays out the prompt as EgoX was trained with: scene and action, for both views. The second output is an "
            "instruction for a vision-language model that writes such prompts from frames of the exo clip.",
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
                    tooltip="Give this and a few frames of the exo clip to a vision-language model. It asks for both "
                    "views within 512 tokens; the ego view is worked out from the exo frames.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, exo_scene: str, exo_action: str, ego_scene: str, ego_action: str) -> io.NodeOutput:
        prompt = two_view_prompt(exo_scene, exo_action, ego_scene, ego_action)
        tokens = estimated_tokens(prompt)
        if tokens > TEXT_TOKENS:
            warn(
                cls,
                f"About {tokens} tokens; the model reads {TEXT_TOKENS}. Encode Two-View Prompt counts them and "
                "shortens both views; Clip Text Encode would lose the end of the ego view.",
            )
        else:
            show_text(cls, f"About {tokens} of {TEXT_TOKENS} tokens; Encode Two-View Prompt counts them.")
        return io.NodeOutput(prompt, VLM_INSTRUCTION)


class Exo2EgoEncodePrompt(io.ComfyNode):
    """Text as conditioning, fitted to what EgoX reads."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoEncodePrompt",
            "Encode Two-View Prompt",
            "conditioning",
            "Encodes a prompt with Wan's text encoder, within the 512 tokens that EgoX was trained and released with. "
            "A longer prompt is shortened before it is encoded, and a report says what was left out. Parentheses are "
            "text, not weights.",
            search_aliases=["clip text encode", "egox prompt", "text encode", "prompt tokens"],
            inputs=[
                io.Clip.Input("clip", tooltip="Wan's text encoder, umt5-xxl: Load CLIP with the type wan."),
                io.String.Input(
                    "text",
                    default="",
                    multiline=True,
                    tooltip="The prompt from Two-View Prompt or Load Take, or any other text, such as a negative "
                    "prompt; may be empty.",
                ),
                io.Combo.Input(
                    "fit",
                    options=_FITS,
                    default=PromptFit.KEEP_BOTH_VIEWS.value,
                    optional=True,
                    tooltip="What happens to a prompt of more than 511 tokens. keep both views: scene and action of "
                    "both views are shortened at ends of sentences, and the ego view keeps at least two thirds "
                    "wherever that fits. as released: the end is cut off, as EgoX's code does; in its own "
                    "examples that was 29 to 86 % of the ego view.",
                ),
            ],
            outputs=[
                io.Conditioning.Output("conditioning", display_name="conditioning"),
                io.String.Output(
                    "report", display_name="report", tooltip="Tokens of each view before and after, and the lost text."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, clip: Any, text: str, fit: str = PromptFit.KEEP_BOTH_VIEWS.value) -> io.NodeOutput:
        conditioning, fitted = encode_prompt(clip, text, PromptFit(fit))
        report = fitted.report()
        if fitted.is_shortened:
            warn(cls, report)
        else:
            show_text(cls, report)
        return io.NodeOutput(conditioning, report, ui={"text": [report]})


NODES = [Exo2EgoPrompt, Exo2EgoEncodePrompt]
