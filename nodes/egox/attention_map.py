"""Where the attention of one ego token goes (paper, Fig. 7)."""

from __future__ import annotations

from typing import Any

import comfy.samplers
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ...common.wan_grid import latent_groups
from ...wan.egox.attention_probe import ProbeStep, RecordedAttention, probed_layout, record_attention
from ..common.previews import image_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..drawings.contact_sheet import side_by_side
from ..drawings.heat_map import HeatScale, attention_sheet, black_frames, check_video, heat_over, moments_with, ring

_MAX_BLOCK = 999
_MAX_STEPS = 10000  # as KSampler
_MAX_SEED = 0xFFFFFFFFFFFFFFFF


class Exo2EgoAttentionMap(io.ComfyNode):
    """One ego token's attention as heat maps over both views, with and without GGA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoAttentionMap",
            "Attention Map",
            "egox",
            "Shows where the model looks when it makes one point of the ego image: heat maps over exo and ego video, "
            "with and without geometry-guided attention (the paper's Fig. 7). It makes one denoising step of its own, "
            "so another point costs one model call and no new sampling.",
            search_aliases=["attention heat map", "figure 7", "gga debug"],
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="What goes to the KSampler: with EgoX Apply, and with Geometry-Guided Attention for the "
                    "comparison.",
                ),
                io.Conditioning.Input("positive", tooltip="From EgoX Conditioning. The step is made without CFG."),
                io.Latent.Input(
                    "latent",
                    tooltip="The ego latent: the empty one of EgoX Conditioning for step 0, or the KSampler's result, "
                    "which gets the noise of the chosen step.",
                ),
                io.Image.Input("exo", tooltip="The exo video, drawn below its heat map."),
                io.Image.Input(
                    "ego",
                    optional=True,
                    tooltip="Drawn below the ego heat map and used for picking the point: the ego prior, or the "
                    "decoded ego video. Black without it.",
                ),
                io.Int.Input(
                    "frame", default=0, min=0, max=_MAX_STEPS, tooltip="Frame of the ego video that the point is on."
                ),
                io.Float.Input(
                    "x",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="The point on the ego image, 0 (left) to 1 (right). Click on the image to set it.",
                ),
                io.Float.Input(
                    "y", default=0.5, min=0.0, max=1.0, step=0.001, tooltip="The point, 0 (top) to 1 (bottom)."
                ),
                io.Int.Input(
                    "first_block", default=0, min=0, max=_MAX_BLOCK, tooltip="First transformer block of the average."
                ),
                io.Int.Input(
                    "last_block",
                    default=-1,
                    min=-1,
                    max=_MAX_BLOCK,
                    tooltip="Last transformer block of the average; -1 is the model's last.",
                ),
                io.Int.Input(
                    "step",
                    default=0,
                    min=0,
                    max=_MAX_STEPS - 1,
                    tooltip="Which step of the schedule, from 0. Above 0, connect the KSampler's result as latent.",
                ),
                io.Int.Input("steps", default=20, min=1, max=_MAX_STEPS, tooltip="The KSampler's number of steps."),
                io.Combo.Input(
                    "scheduler", options=comfy.samplers.SCHEDULER_NAMES, tooltip="The KSampler's scheduler."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=_MAX_SEED,
                    control_after_generate=False,  # the editor would draw a new one each run
                    tooltip="The KSampler's seed, for the same noise. It stays, so that points can be compared.",
                ),
                io.Int.Input("times", default=4, min=1, max=20, tooltip="Columns of the sheet, evenly over the clip."),
            ],
            outputs=[
                io.Image.Output("exo_guided", display_name="exo with GGA", tooltip="Blocked where GGA is not on."),
                io.Image.Output("exo_plain", display_name="exo without GGA"),
                io.Image.Output("ego_guided", display_name="ego with GGA", tooltip="Blocked where GGA is not on."),
                io.Image.Output("ego_plain", display_name="ego without GGA"),
                io.Image.Output("sheet", display_name="sheet"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: list[Any],
        latent: dict[str, Any],
        exo: Tensor,
        frame: int,
        x: float,
        y: float,
        first_block: int,
        last_block: int,
        step: int,
        steps: int,
        scheduler: str,
        seed: int,
        times: int,
        ego: Tensor | None = None,
    ) -> io.NodeOutput:
        layout = probed_layout(model, latent)
        check_video("exo", exo, layout.frames, (layout.exo_columns, layout.rows))
        if ego is None:
            ego = black_frames(layout.frames, exo.shape[1], round(exo.shape[1] * layout.ego_columns / layout.rows))
        check_video("ego", ego, layout.frames, (layout.ego_columns, layout.rows))
        found = record_attention(
            model,
            positive,
            latent,
            ProbeStep(step, steps, scheduler, seed),
            frame=frame,
            x=x,
            y=y,
            first_block=first_block,
            last_block=last_block,
            progress=progress_bar(),
        )
        maps = [found.plain] if found.guided is None else [found.plain, found.guided]
        exo_scale = HeatScale.shared([one.exo for one in maps], found.plain.even)
        ego_scale = HeatScale.shared([one.ego for one in maps], found.plain.even)
        exo_heat = [heat_over(one.exo, exo, exo_scale) for one in maps]
        ego_heat = [heat_over(one.ego, ego, ego_scale) for one in maps]
        numbers = _numbers(found)
        moments = moments_with(frame, len(ego), times)
        sheet_rows = [("the chosen token", exo, _ringed(found, ego)), *zip(numbers, exo_heat, ego_heat)]
        scales = [("exo", exo_scale), ("ego", ego_scale)]
        sheet = attention_sheet(sheet_rows, moments, scales)

        legend = [f"Colors, {view}: {scale.describe()}." for view, scale in scales]
        text = "\n".join([*numbers, _what(found, frame, step), *legend])
        problem = _problem(found, empty=not latent["samples"].any(), step=step)
        if problem:
            warn(cls, problem)
        show_text(cls, text)
        # What the picker of web/js/attention_map.js shows: the sheet's ego frames beside each other.
        (picker,) = image_preview(side_by_side([ego[moment : moment + 1] for moment in moments]))["images"]
        shown = {
            **image_preview(sheet),
            "ego_frames": [{**picker, "frames": moments}],
            "attention": [
                {"exo_share": one.exo_share, "mean_angle": angle}
                for one, angle in zip(maps, (found.plain_angle, found.guided_angle))
            ],
        }
        if found.guided is None:
            nothing = ExecutionBlocker(None)
            return io.NodeOutput(nothing, exo_heat[0], nothing, ego_heat[0], sheet, ui=shown)
        return io.NodeOutput(exo_heat[1], exo_heat[0], ego_heat[1], ego_heat[0], sheet, ui=shown)


def _ringed(found: RecordedAttention, ego: Tensor) -> Tensor:
    """Ring the token in the ego frames [F, H, W, 3] that its latent frame stands for."""
    token = found.token
    _, rows, columns = found.plain.ego.shape
    group = latent_groups(len(ego))[token.frame]
    ringed = ego[..., :3].clone()
    ringed[group] = ring(ringed[group], (token.column + 0.5) / columns, (token.row + 0.5) / rows, 1 / rows)
    return ringed


def _what(found: RecordedAttention, frame: int, step: int) -> str:
    token, blocks = found.token, found.blocks
    return (
        f"Frame {frame} (latent frame {token.frame}), token row {token.row}, column {token.column}. Mean over all "
        f"heads of the blocks {blocks[0]} to {blocks[-1]} at step {step} (noise level {found.sigma:.2f})."
    )


def _numbers(found: RecordedAttention) -> list[str]:
    """Return a line for each map."""
    lines = []
    for name, one, angle in (
        ("without GGA", found.plain, found.plain_angle),
        ("with GGA", found.guided, found.guided_angle),
    ):
        if one is not None:
            away = "" if angle is None else f", on average {angle:.0f} degrees off the token's direction"
            lines.append(f"{name}: {100 * one.exo_share:.1f} % of the attention on the exo view{away}")
    return lines


def _problem(found: RecordedAttention, *, empty: bool, step: int) -> str:
    """Return what the artist should know before reading the maps; empty if nothing."""
    notes = []
    if found.guided is None:
        notes.append("GGA is not on this model, so there is only the map without it.")
    elif found.guided_blocks < len(found.blocks):
        notes.append(
            f"At this step GGA acts in {found.guided_blocks} of the {len(found.blocks)} chosen blocks; in the others "
            "the map shows what its bias would do."
        )
    if found.recorded < len(found.blocks):
        notes.append(
            f"Only {found.recorded} of {len(found.blocks)} blocks could be recorded: another node replaces their "
            "self-attention."
        )
    if empty and step > 0:
        notes.append(
            "Steps after 0 need a partly denoised latent, but this one is empty. Connect the KSampler's output or "
            "choose step 0."
        )
    return " ".join(notes)


NODES = [Exo2EgoAttentionMap]
