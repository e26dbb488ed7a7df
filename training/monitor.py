"""What people see of a run while it trains: TensorBoard's curves and images, and `health.json`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..common.whole_file import whole_file
from .network.health import LoraHealth

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD, HEALTH = "tensorboard", "health.json"

_log = logging.getLogger(__name__)


class Monitor:
    """Curves, images and the health of a run, written by one process.

    Args:
        folder: of the run.
        step: steps that are done. What was shown of later ones, before the run was stopped, is taken back.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / HEALTH
        self._writer = _writer(folder / TENSORBOARD, step)
        self._curve = [point for point in _curve(self._path) if point["step"] <= step]
        self._losses: list[float] = []
        self._gradients: dict[str, float] = {}

    def loss(self, loss: float) -> None:
        """Take a step's loss for the learning curve."""
        self._losses.append(loss)

    def curves(self, step: int, values: dict[str, float], gradients: dict[str, float]) -> None:
        """Show numbers of a step by name, and the gradients' norms by group."""
        self._gradients = gradients
        self._scalars(step, {**values, **{f"gradients/{group}": norm for group, norm in gradients.items()}})

    def health(self, step: int, state: LoraHealth, held_out: float | None) -> None:
        """Show a LoRA's state, add a point to the learning curve, and write both as JSON.

        The point holds the mean loss of the steps since the point before, or since the run went on.

        Args:
            step: steps that are done.
            state: of the LoRA; empty where there is none.
            held_out: loss of the clips held out, where it was computed after this step.
        """
        groups = state.by_group()
        shown = {f"updates/{group}": share for group, share in groups.items()}
        if state.shares:
            shown["dead layers"] = float(len(state.dead))
        if held_out is not None:
            shown["held out"] = held_out
        self._scalars(step, shown)
        mean = sum(self._losses) / len(self._losses) if self._losses else None
        self._losses = []
        self._curve = [point for point in self._curve if point["step"] < step]
        self._curve.append({"step": step, "loss": mean, "held_out": held_out})
        content = {
            "step": step,
            "updates": groups,
            "updates_by_layer": state.shares,
            "dead": list(state.dead),
            "gradients": self._gradients,
            "curve": self._curve,
        }
        with whole_file(self._path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def images(self, step: int, sheets: dict[str, Tensor]) -> None:
        """Show images [1, H, W, 3] in [0, 1] by name."""
        if self._writer is not None:
            for name, sheet in sheets.items():
                self._writer.add_image(f"samples/{name}", sheet[0], step, dataformats="HWC")

    def close(self) -> None:
        """Bring everything to disk."""
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)


def _writer(folder: Path, step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        _log.info("TensorBoard is not installed: there will be no curves.")
        return None
    # Curves of steps that are done again, after the checkpoint that is resumed, take the place of the old ones.
    return SummaryWriter(str(folder), purge_step=step + 1)


def _curve(path: Path) -> list[dict[str, Any]]:
    """Return the learning curve that an earlier part of the run left."""
    if not path.is_file():
        return []
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["curve"])
    except (OSError, ValueError, KeyError, TypeError):
        _log.warning("%s cannot be read: its learning curve begins anew.", path)
        return []
