"""Lens presets of the ego view, and how EgoX's release describes its lens.

Source: the calibration that reproduces the released ego priors (Project Aria RGB camera), and the numbers
hard-coded in the released rendering script, which does not.
"""

from __future__ import annotations

from enum import Enum

from ..lenses import Lens
from ..lenses.brown_conrady import BrownConrady
from ..lenses.fisheye624 import Fisheye624
from ..lenses.opencv_fisheye import OpenCVFisheye
from ..lenses.pinhole import Pinhole

RELEASE_SIZE = 448  # pixels: the ego image of EgoX's release is square

# Aria RGB calibration behind the released ego priors, as its file states it: centre in the raw 448 px image.
ARIA_FOCAL = 189.86989509131948
ARIA_CENTER = (227.82949657490633, 224.3687049274837)
ARIA_RADIAL = (
    0.4143793791836057,
    -0.4859785980738274,
    0.1384912170175902,
    1.146000597558113,
    -1.66762626342011,
    0.6300994877479119,
)
ARIA_TANGENTIAL = (0.0007903390814906743, -0.0003460749279699183)
ARIA_THIN_PRISM = (-0.001078250965388323, 7.704910825386041e-05, 0.0005214350246391408, -0.0001066039798202996)

# Hard-coded in the released scripts: 150 px at 512 px. Twelve fisheye numbers in the order k1..k6, p1, p2, s1..s4.
SCRIPT_FOCAL_AT_512 = 150.0
SCRIPT_CENTER_AT_512 = 255.5
SCRIPT_COEFFICIENTS = (
    -0.02340373583137989,
    0.09388021379709244,
    -0.06088035926222801,
    0.0053304750472307205,
    0.003342868760228157,
    -0.0006356257363222539,
    0.0005087381578050554,
    -0.0004747129278257489,
    -0.0011330085108056664,
    -0.00025734835071489215,
    0.00009328465239377692,
    0.00009424977179151028,
)


class LensPreset(str, Enum):
    """Lenses an artist can choose for the ego view."""

    EGOX_RELEASE = "EgoX release (Aria RGB)"
    SCRIPT_DEFAULT = "EgoX script default"
    PINHOLE = "pinhole"
    OWN = "own coefficients"
    OPENCV_FISHEYE = "OpenCV fisheye (own coefficients)"
    BROWN_CONRADY = "OpenCV Brown-Conrady (own coefficients)"


# Presets without numbers of their own, and the lens model that the artist's numbers make.
OWN_NUMBERS: dict[LensPreset, type[Lens]] = {
    LensPreset.OWN: Fisheye624,
    LensPreset.OPENCV_FISHEYE: OpenCVFisheye,
    LensPreset.BROWN_CONRADY: BrownConrady,
}
# Those that say everything by themselves.
NAMED_PRESETS = tuple(preset for preset in LensPreset if preset not in OWN_NUMBERS)


def lens_of_raw_aria(
    focal: float,
    center: tuple[float, float],
    radial: tuple[float, ...],
    tangential: tuple[float, ...],
    thin_prism: tuple[float, ...],
    size: int = RELEASE_SIZE,
) -> Fisheye624:
    """Bring a lens as EgoX's release writes it into our convention.

    The release renders in PyTorch3D's axes (x left, y up) of the image turned upright:
    `column = size - cx - focal * a - 0.5` and `row = cy - focal * b - 0.5` with integer pixel centres. Both axes
    flipped, that is this lens with the signs of its even terms turned.

    Args:
        focal: pixels.
        center: (cx, cy) as the release gives them, for the raw image.
        radial: k1..k6.
        tangential: p1, p2.
        thin_prism: s1..s4.
        size: the side of the square image in pixels.
    """
    cx, cy = center
    return Fisheye624(
        focal=focal,
        cx=size - cx,
        cy=cy,
        radial=radial,
        tangential=tuple(-p for p in tangential),
        thin_prism=tuple(-s for s in thin_prism),
    )


def preset_lens(preset: LensPreset, width: int, height: int, fov_degrees: float = 90.0) -> Lens:
    """Make a preset's lens for an image of `width` x `height` pixels.

    The Aria lenses are square: on another aspect ratio the shorter side keeps the whole field of view and the
    longer one sees more.

    Args:
        preset: one of `NAMED_PRESETS`.
        width: image width in pixels.
        height: image height in pixels.
        fov_degrees: horizontal field of view of the pinhole; the other presets have their own.

    Raises:
        ValueError: for a preset of `OWN_NUMBERS`, which has none of its own.
    """
    if preset is LensPreset.PINHOLE:
        return Pinhole.from_fov(fov_degrees, width, height)
    if preset is LensPreset.EGOX_RELEASE:
        lens = lens_of_raw_aria(ARIA_FOCAL, ARIA_CENTER, ARIA_RADIAL, ARIA_TANGENTIAL, ARIA_THIN_PRISM)
    elif preset is LensPreset.SCRIPT_DEFAULT:
        at_release_size = RELEASE_SIZE / 512
        lens = lens_of_raw_aria(
            SCRIPT_FOCAL_AT_512 * at_release_size,
            (SCRIPT_CENTER_AT_512 * at_release_size,) * 2,
            SCRIPT_COEFFICIENTS[:6],
            SCRIPT_COEFFICIENTS[6:8],
            SCRIPT_COEFFICIENTS[8:],
        )
    else:
        raise ValueError(f"The preset {preset.value!r} has no numbers: give the lens' own.")
    side = min(width, height)
    lens = lens.scaled(side / RELEASE_SIZE, side / RELEASE_SIZE)
    return lens.cropped(-(width - side) / 2, -(height - side) / 2)
