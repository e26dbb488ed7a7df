"""ComfyUI's context windows over latent frames."""

from __future__ import annotations

import inspect
from typing import Any

from .core_features import skip_without

# Windows of two frames over four: the frames that a window gives, those that the model sees for it without and with
# ComfyUI's `causal_window_fix`, which puts the frame before a window in front of it.
WINDOWS = ([0, 1], [2, 3])
SEEN = {False: ([0, 1], [2, 3]), True: ([0, 1], [1, 2, 3])}


def windows_handler(length: int, *, causal_fix: bool = False) -> Any:
    """ComfyUI's handler of windows over latent frames, with the slicing of 5-D conditions that 0.3.75 lacks.

    Args:
        length: frames of a window.
        causal_fix: ComfyUI's `causal_window_fix`, on by default in versions that have it; others skip the test.
    """
    from comfy import context_windows

    class Handler(context_windows.IndexListContextHandler):
        def get_resized_cond(self, cond_in, x_in, window, device=None):
            resized = super().get_resized_cond(cond_in, x_in, window, device)
            for cond in resized or []:
                concat = cond["model_conds"]["c_concat"]
                if concat.cond.shape[2] == x_in.shape[2]:  # not sliced by ComfyUI
                    sliced = concat._copy_with(concat.cond[:, :, window.index_list])
                    cond["model_conds"] = {**cond["model_conds"], "c_concat": sliced}
            return resized

    has_fix = "causal_window_fix" in inspect.signature(context_windows.IndexListContextHandler).parameters
    skip_without(has_fix or not causal_fix, "context windows with causal_window_fix")
    return Handler(
        context_schedule=context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=context_windows.get_matching_fuse_method("flat"),
        context_length=length,
        context_overlap=0,
        dim=2,
        **({"causal_window_fix": causal_fix} if has_fix else {}),
    )
