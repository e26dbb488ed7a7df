"""Side by side: exo, prior, ego and truth."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..common.previews import image_preview
from ..common.schema import schema
from ..drawings.contact_sheet import contact_sheet, side_by_side


class Exo2EgoCompare(io.ComfyNode):
    """A side-by-side video and a contact sheet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoCompare",
            "Compare Views",
            "output",
            "Puts exo video, ego prior, ego video and, where there is one, the true ego video side by side, and makes "
            "a contact sheet of a few times.",
            search_aliases=["contact sheet", "side by side"],
            inputs=[
                io.Image.Input("exo", tooltip="The third-person video."),
                io.Image.Input("ego_prior", optional=True, tooltip="The rendered ego prior."),
                io.Image.Input("ego", optional=True, tooltip="The generated first-person video."),
                io.Image.Input(
                    "ego_truth", optional=True, tooltip="The recorded first-person video, where there is one."
                ),
                io.Int.Input(
                    "times", default=5, min=1, max=20, tooltip="Columns of the contact sheet, evenly over the clip."
                ),
            ],
            outputs=[
                io.Image.Output("video", display_name="side by side"),
                io.Image.Output("sheet", display_name="contact sheet"),
            ],
        )

    @classmethod
    def execute(
        cls,
        exo: Tensor,
        times: int,
        ego_prior: Tensor | None = None,
        ego: Tensor | None = None,
        ego_truth: Tensor | None = None,
    ) -> io.NodeOutput:
        rows = [("exo", exo), ("ego prior", ego_prior), ("ego", ego), ("true ego", ego_truth)]
        given = [(label, frames) for label, frames in rows if frames is not None]
        sheet = contact_sheet(given, times=times)
        return io.NodeOutput(side_by_side([frames for _, frames in given]), sheet, ui=image_preview(sheet))


NODES = [Exo2EgoCompare]
