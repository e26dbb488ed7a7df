"""ComfyUI's context windows over latent frames."""

from __future__ import annotations

from typing import Any


def windows_handler(length: int) -> Any:
    """ComfyUI's handler of windows over latent frames, with the slicing of 5-D conditions that 0.3.75 lacks."""
    from comfy import context_windows

    class Handler(context_windows.IndexListContextHandler):
        def get_resized_cond(self, cond_in, x_in, window, device=None):
            resized = super().get_resized_cond(cond_in, x_in, window, device)
            for cond in resized or []:
                concat = cond["model_conds"]["c_concat"]
                sliced = concat._copy_with(concat.cond[:, :, window.index_list])
                cond["model_conds"] = {**cond["model_conds"], "c_concat": sliced}
            return resized

    return Handler(
        context_schedule=context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=context_windows.get_matching_fuse_method("flat"),
        context_length=length,
        context_overlap=0,
        dim=2,
    )
