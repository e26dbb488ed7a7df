"""How near an ego video comes to the true one, by either paper's protocol."""

from __future__ import annotations

import math

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ...evaluation.pictures import error_map, moments
from ...evaluation.protocols import PROTOCOLS, Protocol
from ...evaluation.regions import covered
from ...evaluation.scores import REGIONS, Scores, score_clips
from ...geometry.depth.dynamic_mask import mask_to_frames
from ..common.previews import image_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..drawings.contact_sheet import contact_sheet

_NO_TRUTH = (
    "There is no true ego view to score against: ego_truth got nothing. Takes have one where their folder contains "
    "ego_GT.mp4, and so has the example room."
)


class Exo2EgoScore(io.ComfyNode):
    """PSNR and SSIM against the truth, whole and by what the exo camera saw."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoScore",
            "Score",
            "output",
            "Scores an ego video against the true one, as EgoX's or Exo2EgoSyn's paper does: PSNR and SSIM over all "
            "frames, apart for what the exo camera saw and what the model invented, and a sheet of where it is wrong.",
            search_aliases=["psnr", "ssim", "evaluate", "metrics"],
            is_output_node=True,
            inputs=[
                io.Image.Input("ego", tooltip="The ego video that is scored, or an ego prior."),
                io.Image.Input(
                    "ego_truth",
                    optional=True,
                    tooltip="The true ego view, frame by frame the same. Where a take has none, the node says so and "
                    "the nodes after it do not run.",
                ),
                io.Image.Input(
                    "ego_prior",
                    optional=True,
                    tooltip="The ego prior: what it covers the exo camera saw, its holes the model invented. Both are "
                    "scored apart then.",
                ),
                io.Mask.Input(
                    "coverage",
                    optional=True,
                    tooltip="The mask of Render Ego Prior, which tells holes from black surfaces; it goes before what "
                    "ego_prior shows.",
                ),
                io.Combo.Input(
                    "protocol",
                    options=list(PROTOCOLS),
                    default="EgoX",
                    tooltip="EgoX: luma of 8-bit frames, no resizing; of a wider canvas the right end. Exo2EgoSyn: "
                    "RGB, resized to 256 x 256. The papers' figures are of each its own.",
                ),
                io.Int.Input(
                    "times", default=5, min=1, max=12, tooltip="Moments on the sheet, from the first to the last."
                ),
            ],
            outputs=[
                io.Float.Output("psnr", display_name="PSNR", tooltip="In dB, mean over frames; 120 where equal."),
                io.Float.Output("ssim", display_name="SSIM", tooltip="Mean over frames; 1 where equal."),
                io.Image.Output("sheet", display_name="sheet", tooltip="Truth, ego view and where it is wrong."),
                io.String.Output("report", display_name="report", tooltip="All scores in words."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        ego: Tensor,
        protocol: str,
        times: int,
        ego_truth: Tensor | None = None,
        ego_prior: Tensor | None = None,
        coverage: Tensor | None = None,
    ) -> io.NodeOutput:
        if ego_truth is None:
            warn(cls, _NO_TRUTH)
            nothing = ExecutionBlocker(None)  # in silence, as the node has said it
            return io.NodeOutput(nothing, nothing, nothing, _NO_TRUTH)
        chosen = PROTOCOLS[protocol]
        seen = covered(ego_prior) if ego_prior is not None else None
        if coverage is not None:
            seen = mask_to_frames(coverage, len(ego_truth), *ego_truth.shape[1:3])
        unseen = None if seen is None else ~seen
        scores = score_clips(ego, ego_truth, protocol=chosen, unseen=unseen, progress=progress_bar())
        report = _report(scores, chosen, ego_truth)
        show_text(cls, report)
        frames = moments(len(ego), times)
        one, true = chosen.pair(ego[frames], ego_truth[frames])
        rows = [("true ego view", true), ("ego", one), ("error", error_map(one, true))]
        sheet = contact_sheet(rows, times=len(frames), frame_numbers=frames)
        known = {name: round(value, 6) for name, value in scores.means.items() if not math.isnan(value)}
        shown = {**image_preview(sheet), "scores": [{"protocol": protocol, **known}]}
        return io.NodeOutput(known["psnr"], known["ssim"], sheet, report, ui=shown)


def _report(scores: Scores, protocol: Protocol, truth: Tensor) -> str:
    means = scores.means
    lines = [f"{protocol.name}: PSNR {means['psnr']:.2f} dB, SSIM {means['ssim']:.3f}."]
    if "unseen_percent" in means:
        shares = {"seen": 100 - means["unseen_percent"], "unseen": means["unseen_percent"]}
        for region in REGIONS:
            psnr, ssim = means[f"psnr_{region}"], means[f"ssim_{region}"]
            told = "no score" if math.isnan(psnr) else f"PSNR {psnr:.2f} dB"
            told += "" if math.isnan(ssim) else f", SSIM {ssim:.3f}"
            lines.append(f"{region.capitalize()} by the exo camera ({shares[region]:.1f} %): {told}.")
    return "\n".join([*lines, *protocol.notes(len(truth), truth.shape[1], truth.shape[2])])


NODES = [Exo2EgoScore]
