"""Charts as images, for the nodes' previews.

They are drawn through matplotlib's figure objects. `pyplot` is left alone: it keeps global state, picks a window
backend, and belongs to whichever other pack uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...geometry.points.coverage import USUAL_HIGH, USUAL_LOW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ...geometry.depth.align import Alignment

_DPI = 100
_FITTED, _USED, _FAILED = "#9aa5b1", "#1f6feb", "#d1242f"
_PAPER, _INK = "#222222", "#d8d8d8"  # as dark as the page's nodes: a white sheet among them blinds
_LEGEND = {"fontsize": "small", "framealpha": 0.6, "facecolor": _PAPER, "edgecolor": _FITTED, "labelcolor": _INK}


def alignment_chart(alignment: Alignment, width: int = 960, height: int = 640) -> Tensor:
    """Draw how a depth alignment went: scale, offset and fit error over the frames, jitter before and after.

    Args:
        alignment: the report of `geometry.align.align_depth`.
        width: width of the chart in pixels.
        height: height of the chart in pixels.

    Returns:
        The chart as an image [1, H, W, 3] in [0, 1].
    """
    figure = _new_figure(width, height)
    scale, offset, residual, jitter = figure.subplots(2, 2).flat
    frames = range(len(alignment.scale))
    for axes, fitted, used, title in (
        (scale, alignment.fitted_scale, alignment.scale, "scale of inverse depth"),
        (offset, alignment.fitted_offset, alignment.offset, "offset of inverse depth (1/m)"),
    ):
        axes.plot(frames, fitted.tolist(), ".", color=_FITTED, label="fitted")
        axes.plot(frames, used.tolist(), color=_USED, label=f"used (momentum {alignment.momentum:g})")
        _keep_rounding_out_of_sight(axes, torch.cat([fitted[fitted.isfinite()], used]))
        _label(axes, title)
        axes.legend(loc="best", **_LEGEND)
    residual.plot(frames, (100 * alignment.residual).tolist(), ".-", color=_USED)
    residual.set_ylim(0, 1.15 * max(100 * float(alignment.residual.nan_to_num(0).max()), 0.01))
    _label(residual, "fit error, rms (%)")
    for axes in (scale, offset, residual):
        for frame in alignment.failed_frames:
            axes.axvspan(frame - 0.5, frame + 0.5, color=_FAILED, alpha=0.15, linewidth=0)
    if alignment.failed_frames:
        residual.plot([], [], color=_FAILED, alpha=0.3, linewidth=6, label="no fit of its own")
        residual.legend(loc="best", **_LEGEND)
    _draw_jitter(jitter, alignment)
    return _as_image(figure)


def coverage_chart(
    percent: Sequence[float] | Tensor,
    width: int = 960,
    height: int = 320,
    usual: tuple[float, float] = (USUAL_LOW, USUAL_HIGH),
) -> Tensor:
    """Draw how much of each frame of an ego prior is covered.

    Args:
        percent: coverage of each frame, 0 to 100 [F].
        usual: the range of EgoX's own takes, which is shaded.
        width: width of the chart in pixels.
        height: height of the chart in pixels.

    Returns:
        The chart as an image [1, H, W, 3] in [0, 1].

    Raises:
        ValueError: if there is no frame.
    """
    values = torch.as_tensor(percent, dtype=torch.float64).flatten().cpu()
    if not len(values):
        raise ValueError("Expected the coverage of at least one frame, got none.")
    mean = float(values.mean())
    figure = _new_figure(width, height)
    axes = figure.subplots()
    axes.bar(range(len(values)), values.tolist(), width=0.8, color=_USED, alpha=0.75)
    axes.axhspan(usual[0], usual[1], color=_USED, alpha=0.12, linewidth=0, label="EgoX's own takes")
    axes.axhline(mean, color=_INK, linestyle="--", linewidth=1, label=f"mean {mean:.1f} %")
    axes.set_ylim(0, 100)
    axes.set_xlim(-0.6, len(values) - 0.4)
    _label(axes, "covered share of the ego view (%)")
    axes.legend(loc="upper right", **_LEGEND)
    return _as_image(figure)


def confidence_chart(
    confidence: Tensor, filled_frames: Sequence[int], torso_frames: Sequence[int], width: int = 960, height: int = 320
) -> Tensor:
    """Draw how far each frame's head pose can be trusted.

    Args:
        confidence: [F] in [0, 1].
        filled_frames: frames that were filled from their neighbours.
        torso_frames: frames whose face is hidden.
        width: width of the chart in pixels.
        height: height of the chart in pixels.

    Returns:
        The chart as an image [1, H, W, 3] in [0, 1].
    """
    figure = _new_figure(width, height)
    axes = figure.subplots()
    colors = [_FITTED if frame in set(torso_frames) else _USED for frame in range(len(confidence))]
    axes.bar(range(len(confidence)), confidence.tolist(), width=0.8, color=colors, alpha=0.75)
    for frame in filled_frames:
        axes.axvspan(frame - 0.5, frame + 0.5, color=_FAILED, alpha=0.15, linewidth=0)
    for color, opacity, label in (
        (_USED, 0.75, "face"),
        (_FITTED, 0.75, "face hidden: trunk"),
        (_FAILED, 0.3, "filled from neighbours"),
    ):
        axes.plot([], [], color=color, alpha=opacity, linewidth=6, label=label)
    axes.set_ylim(0, 1.15)  # room for the legend
    axes.set_xlim(-0.6, len(confidence) - 0.4)
    _label(axes, "confidence of the head pose (0.5: known to 10 degrees)")
    axes.legend(loc="upper right", ncols=3, **_LEGEND)
    return _as_image(figure)


def _draw_jitter(axes: Axes, alignment: Alignment) -> None:
    values = [100 * alignment.jitter_before, 100 * alignment.jitter_after]
    bars = axes.bar(["metric depth", "aligned"], values, width=0.5, color=[_FITTED, _USED])
    axes.bar_label(bars, fmt="%.3f %%", padding=2, fontsize="small", color=_INK)
    finite = [value for value in values if value == value]
    axes.set_ylim(0, 1.2 * max([*finite, 1e-3]))
    _label(axes, "frame-to-frame jitter of static pixels (%)", "")


def _keep_rounding_out_of_sight(axes: Axes, values: Tensor) -> None:
    """Show values [N] without blowing rounding up into a mountain where they agree to a thousandth."""
    low, high = (float(edge) for edge in values.aminmax())
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    half = 1.15 * max(half, 5e-4 * abs(middle), 1e-4)
    axes.set_ylim(middle - half, middle + half)


def _label(axes: Axes, title: str, x_label: str = "frame") -> None:
    axes.set_title(title, fontsize="medium", loc="left", color=_INK)
    axes.set_xlabel(x_label, color=_INK)
    axes.set_facecolor(_PAPER)
    axes.tick_params(colors=_INK)
    axes.spines[:].set_color(_INK)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.ticklabel_format(axis="y", useOffset=False)


def _new_figure(width: int, height: int) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained", facecolor=_PAPER)
    FigureCanvasAgg(figure)
    return figure


def _as_image(figure: Figure) -> Tensor:
    """Rasterise a figure to [1, H, W, 3] in [0, 1]."""
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    pixels = torch.frombuffer(bytearray(figure.canvas.buffer_rgba()), dtype=torch.uint8).view(height, width, 4)
    return pixels[None, ..., :3].float() / 255
