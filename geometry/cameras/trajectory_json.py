"""The text of a trajectory: what the camera editor writes into its one widget, and so into workflow and API prompt.

    {"format": "exo2ego.trajectory", "version": 1,
     "lens": {"preset": NAME} or {"type": a lens' name, ...its numbers in pixels},
     "width": 448, "height": 448,
     "keyframes": [{"frame": 0, "position": [x, y, z], "rotation": [w, x, y, z], "ease_in": 0.0, "ease_out": 0.0}, ...],
     "view": {...}}

A keyframe may also have the slopes of its curves: `tangent_in` and `tangent_out` [x, y, z], metres a frame, `turn_in`
and `turn_out` [x, y, z], degrees a frame. `view` belongs to the editor alone. `lens`, `width`, `height`, `keyframes`,
`view` and both eases may be left out; an empty text is a trajectory without keyframes. See `trajectory` for what all
this means.
"""

from __future__ import annotations

import json
from typing import Any

from ...common.messages import json_fault, with_advice
from ..lenses import Lens, lens_from_json, lens_to_json
from .presets import NAMED_PRESETS, LensPreset
from .trajectory import SLOPES, Keyframe, Trajectory

TRAJECTORY_FORMAT = "exo2ego.trajectory"
TRAJECTORY_VERSION = 1
MAX_CHARACTERS = 1_000_000
MAX_KEYFRAMES = 10_000


def trajectory_to_json(trajectory: Trajectory) -> str:
    """Return the text of a trajectory; `trajectory_from_json` restores it exactly."""
    lens = trajectory.lens
    content = {
        "format": TRAJECTORY_FORMAT,
        "version": TRAJECTORY_VERSION,
        "lens": {"preset": lens.value} if isinstance(lens, LensPreset) else lens_to_json(lens),
        "width": trajectory.width,
        "height": trajectory.height,
        "keyframes": [
            {
                "frame": key.frame,
                "position": list(key.position),
                "rotation": list(key.rotation),
                "ease_in": key.ease_in,
                "ease_out": key.ease_out,
                **{name: list(getattr(key, name)) for name, *_ in SLOPES if getattr(key, name) is not None},
            }
            for key in trajectory.keyframes
        ],
        "view": trajectory.view,
    }
    return json.dumps(content)


@with_advice("Empty the box, or let the camera editor write it.")
def trajectory_from_json(text: str) -> Trajectory:
    """Read the text of a trajectory; see the module.

    Raises:
        ValueError: if the text is too long, no JSON, of another format or version, or holds numbers that make no
            trajectory. The message says which.
    """
    if not text.strip():
        return Trajectory()
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"A trajectory has at most {MAX_CHARACTERS:,} characters, got {len(text):,}. Thin out its keyframes."
        )
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected a trajectory as JSON text, as the camera editor writes it: {json_fault(error)}."
        ) from error
    if not isinstance(content, dict) or content.get("format") != TRAJECTORY_FORMAT:
        raise ValueError(
            f'Expected a trajectory with "format": "{TRAJECTORY_FORMAT}"; this JSON is something else. Load a '
            "camera file by Camera from File."
        )
    version = content.get("version")
    if isinstance(version, bool) or version != TRAJECTORY_VERSION:
        raise ValueError(
            f"This pack reads trajectories of version {TRAJECTORY_VERSION}, got {version!r}. Update the pack."
        )
    default = Trajectory()
    keyframes = content.get("keyframes", [])
    if not isinstance(keyframes, list):
        raise ValueError(f'A trajectory\'s "keyframes" is a list, got {keyframes!r:.60}.')
    if len(keyframes) > MAX_KEYFRAMES:
        raise ValueError(f"A trajectory has at most {MAX_KEYFRAMES:,} keyframes, got {len(keyframes):,}.")
    view = content.get("view", {})
    if not isinstance(view, dict):
        raise ValueError(f'A trajectory\'s "view" is an object, got {view!r:.60}.')
    return Trajectory(
        keyframes=tuple(_keyframe(number, entry) for number, entry in enumerate(keyframes)),
        lens=_lens(content["lens"]) if "lens" in content else default.lens,
        width=_whole_number("width", content.get("width", default.width)),
        height=_whole_number("height", content.get("height", default.height)),
        view=view,
    )


def _keyframe(number: int, entry: Any) -> Keyframe:
    what = f"keyframe {number}"
    if not isinstance(entry, dict):
        raise ValueError(f"Expected {what} as an object with frame, position and rotation, got {entry!r:.60}.")
    missing = {"frame", "position", "rotation"} - set(entry)
    if missing:
        raise ValueError(f"A trajectory's {what} lacks {', '.join(sorted(missing))}.")
    return Keyframe(
        frame=_whole_number(f"frame of {what}", entry["frame"]),
        position=_numbers(f"position of {what}", entry["position"], 3),
        rotation=_numbers(f"rotation of {what}", entry["rotation"], 4),
        ease_in=_number(f"ease_in of {what}", entry.get("ease_in", 0.0)),
        ease_out=_number(f"ease_out of {what}", entry.get("ease_out", 0.0)),
        **{name: _numbers(f"{name} of {what}", entry[name], 3) for name, *_ in SLOPES if entry.get(name) is not None},
    )


def _lens(entry: Any) -> LensPreset | Lens:
    if not isinstance(entry, dict):
        raise ValueError(f'A trajectory\'s "lens" is an object with "preset" or "type", got {entry!r:.60}.')
    if "preset" in entry:
        known = [preset.value for preset in NAMED_PRESETS]
        if entry["preset"] not in known:
            raise ValueError(f"Expected the lens preset {', '.join(map(repr, known))}, got {entry['preset']!r:.60}.")
        return LensPreset(entry["preset"])
    try:
        return lens_from_json(entry)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"The trajectory's lens lacks a number or has one of the wrong kind: {error}.") from error


def _whole_number(what: str, value: Any) -> int:
    number = _number(what, value)
    if number != int(number):
        raise ValueError(f"The {what} must be a whole number, got {value!r}.")
    return int(number)


def _numbers(what: str, values: Any, count: int) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"The {what} must be a list of {count} numbers, got {values!r:.60}.")
    return tuple(_number(what, value) for value in values)


def _number(what: str, value: Any) -> float:
    """Return a finite number; `true` and texts are none, and neither is 1e999, which JSON allows."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"The {what} must be a number, got {value!r:.60}.")
    if not abs(value) < 1e300:
        raise ValueError(f"The {what} must be a finite number, got {value!r:.60}.")
    return float(value)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number that a trajectory can hold")
