"""Feature caches at few steps: a warning.

EasyCache, LazyCache and TeaCache leave model calls out where consecutive steps differ little. Of many steps some can
go; a step-distilled model's 4 all differ, and its publishers ask for no cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...common.safe_text import safe_logger

_log = safe_logger(__name__)

# Below this number of steps a cache is warned of: step-distilled models take 4 to 8, other models 20 or more.
FEW_STEPS = 10

# What caches leave in a MODEL's transformer_options: ComfyUI's EasyCache and LazyCache (an object with its name), and
# the TeaCache nodes of ComfyUI-TeaCache and ComfyUI-KJNodes (a threshold).
_CORE_CACHE, _TEACACHE = "easycache", "rel_l1_thresh"


def warn_of_cache(transformer_options: Mapping[str, Any], steps: int) -> None:
    """Write a warning to the log where a cache is active and the steps are few; call it once a run.

    Args:
        transformer_options: of the run.
        steps: of the sampler.
    """
    name = _active_cache(transformer_options)
    if name is not None and steps < FEW_STEPS:
        _log.warning(
            "EgoX samples %d steps with %s. Caches are made for many steps; of fewer than %d each one counts, and what "
            "is skipped shows. Remove or bypass %s, or sample more steps.",
            steps,
            name,
            FEW_STEPS,
            name,
        )


def _active_cache(transformer_options: Mapping[str, Any]) -> str | None:
    if (cache := transformer_options.get(_CORE_CACHE)) is not None:
        return str(getattr(cache, "name", "EasyCache"))
    return "TeaCache" if _TEACACHE in transformer_options else None
