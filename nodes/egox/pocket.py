"""The pocket model: a small EgoX, and a small Exo2EgoSyn on it, that come with the pack."""

from __future__ import annotations

from functools import partial

from comfy_api.latest import io

from ...wan.pocket.load import load_pocket
from ..common.progress import show_text, warn
from ..common.schema import schema

METHODS = EGOX, EXO2EGOSYN = ("EgoX", "Exo2EgoSyn")


class Exo2EgoPocket(io.ComfyNode):
    """The pocket model, its VAE and conditioning that stands for a text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoPocket",
            "Load Pocket Model",
            "egox",
            "Loads the pocket model that comes with the pack: a small transformer and VAE in the shape of Wan 2.1, "
            "trained from nothing on random rooms like the example room, at 224 x 128 and 128 x 128 pixels. It shows "
            "the method on any computer, without a download. It is not EgoX: of other scenes it makes little.",
            search_aliases=["exo2ego demo model", "tiny egox", "try egox"],
            inputs=[
                io.Combo.Input(
                    "method",
                    options=METHODS,
                    default=EGOX,
                    optional=True,
                    tooltip="EgoX: for EgoX Apply. Exo2EgoSyn: the same transformer in the shape of Wan 2.2, for "
                    "Exo2EgoSyn Apply with the components exo2ego_pocket_* that `make pocket` trains on it.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    "pocket_model",
                    display_name="model",
                    tooltip="For the method chosen; it needs no LoRA but the components', and CFG 1.",
                ),
                io.Vae.Output(
                    "pocket_vae", display_name="vae", tooltip="The pocket model's own VAE; Wan's does not fit."
                ),
                io.Conditioning.Output(
                    "pocket_positive",
                    display_name="positive",
                    tooltip="Stands for a text, which the pocket model ignores.",
                ),
                io.Conditioning.Output("pocket_negative", display_name="negative", tooltip="The same once more."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, method: str = EGOX) -> io.NodeOutput:
        pocket = load_pocket(report=partial(warn, cls), for_exo2egosyn=method == EXO2EGOSYN)
        best = (
            "the components exo2ego_pocket_* that make pocket trains"
            if pocket.header is None
            else pocket.header.describe()
        )
        show_text(cls, f"The pocket model. Best with {best}")
        return io.NodeOutput(pocket.model, pocket.vae, pocket.conditioning, pocket.conditioning)


NODES = [Exo2EgoPocket]
