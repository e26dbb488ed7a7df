"""What Exo2EgoSyn refuses: when it is applied, and when sampling starts, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...common.wan_grid import LATENT_CHANNELS, VAE_STRIDE, fits_wan, video_frames
from ...geometry.plucker import PluckerMaps, PoseReference
from ...networks.components.files import LoadedComponent
from ...networks.components.metadata import Component
from ...networks.components.set import SynComponents, guidance_note
from ...networks.exo2egosyn.pose_encoder import UNSHUFFLE
from ...networks.exo2egosyn.vawan import AC3D, TIME_POSE
from .conditioning import COND_TAIL_KEY, has_first_frame, has_no_text
from .views import ExoViews

# Conditions of the guiders in which 0 is the positive one and 1 the negative one.
_CONDITIONS = {"positive", "negative"}


def check_views(components: SynComponents, views: ExoViews | None) -> None:
    """Check the exo videos that the components read.

    Raises:
        ValueError: if they are missing, too many or too few, or not finite.
    """
    if not components.needs_views:
        return
    name = "MultiExoCon" if Component.MULTIEXOCON in components.parts else "VAWAN"
    if views is None:
        raise ValueError(f"{name} is loaded, and no exo views are connected: connect those of Multi Exo Tokens.")
    most, exact = components.most_views(), Component.VAWAN in components.parts
    if views.n_views > most or (exact and views.n_views != most):
        expected = f"exactly {most}" if exact else f"at most {most}"
        raise ValueError(
            f"This {name} was trained with {most} exo views and takes {expected}, got {views.n_views}. Connect that "
            "many views to Multi Exo Tokens, or load a component trained with a different number."
        )
    if not views.latents.isfinite().all():
        raise ValueError("The exo latents hold values that are not finite: check the exo videos and the VAE.")


def check_poses(components: SynComponents, plucker: PluckerMaps | None) -> None:
    """Check the ego camera's path that PoseInj and VAWAN's camera conditioning read.

    Raises:
        ValueError: if it is missing, counts from another camera, or does not fit the network.
    """
    for name, part in components.posed_parts().items():
        side = part.config.unshuffle if part.component is Component.POSEINJ else UNSHUFFLE
        _check_path(name, side, plucker)
        if part.component is Component.VAWAN and part.config.pose == TIME_POSE and plucker.poses is None:
            raise ValueError(
                f"{name} reads the poses themselves, which these maps lack: connect those of Pluecker Maps."
            )


def _check_path(name: str, side: int, plucker: PluckerMaps | None) -> None:
    if plucker is None:
        raise ValueError(
            f"{name} is loaded, and the ego camera's path is missing: connect Pluecker Maps, made of the ego camera "
            "and exo camera 1."
        )
    if plucker.reference is not PoseReference.EXO1:
        raise ValueError(
            f"{name} was trained on poses relative to exo camera 1, and these Pluecker maps count from the ego "
            "camera's own first frame: connect exo camera 1 to Pluecker Maps."
        )
    height, width = plucker.maps.shape[2:]
    if not fits_wan(plucker.n_frames) or height % side or width % side:
        raise ValueError(
            f"{name} takes 4n+1 frames whose width and height are multiples of {side}, got {plucker.n_frames} Pluecker "
            f"maps of {width} x {height}. Set frames and size of Pluecker Maps to the video's."
        )


def pose_notes(components: SynComponents, plucker: PluckerMaps | None) -> list[str]:
    """Return what differs from the training of the parts that read rays, which is likely to spoil the video."""
    return [
        f"{part.file} was trained on rays of the kind {part.metadata.rays}, and these Pluecker maps hold "
        f"{plucker.rays.value}: use an ego camera of that kind."
        for part in components.posed_parts().values()
        if plucker is not None and _reads_rays(part) and plucker.rays.value != part.metadata.rays
    ]


def _reads_rays(part: LoadedComponent) -> bool:
    return part.component is not Component.VAWAN or part.config.pose == AC3D


def check_sampled_latent(
    shape: Sequence[int], joined_shape: Sequence[int] | None, maps_shape: Sequence[int] | None
) -> None:
    """Check the latent that is sampled.

    Args:
        shape: [B, 16, T, h, w].
        joined_shape: of the exo latents [V, 16, t, h, w] where VAWAN joins them, else None.
        maps_shape: of the Pluecker maps [F, 6, H, W] where a part reads the ego camera's path, else None.

    Raises:
        ValueError: if it is none of Wan's, or of other frames or another size than what goes with it.
    """
    if len(shape) != 5 or shape[1] != LATENT_CHANNELS or shape[3] % 2 or shape[4] % 2:
        raise ValueError(
            f"Exo2EgoSyn samples a Wan video latent [batch, {LATENT_CHANNELS}, T, h, w] with even h and w, got "
            f"{list(shape)}. Sample the latent that Exo2EgoSyn Conditioning makes."
        )
    _, _, frames, height, width = shape
    if joined_shape is not None and list(joined_shape[2:]) != list(shape[2:]):
        raise ValueError(
            f"VAWAN joins exo and ego latents cell by cell: the exo latents are {_sizes(joined_shape)}, and the "
            f"sampled one is {_sizes(shape)}. Give exo and ego videos one length and size."
        )
    if maps_shape is None:
        return
    n_frames, _, *size = maps_shape
    expected = video_frames(frames)
    if n_frames != expected:
        raise ValueError(
            f"Exo2EgoSyn needs a pose of the ego camera for each of the {expected} sampled frames, and the Pluecker "
            f"maps have {n_frames}. Set the frames of Pluecker Maps to {expected}, or sample {n_frames} frames."
        )
    if size != [VAE_STRIDE * height, VAE_STRIDE * width]:
        raise ValueError(
            f"The Pluecker maps are {size[1]} x {size[0]} pixels, and the sampled video is {VAE_STRIDE * width} x "
            f"{VAE_STRIDE * height}. Set the size of Pluecker Maps to the video's."
        )


def check_guider(components: SynComponents, guider: Any) -> list[str]:
    """Check what a guider brings.

    Returns:
        What does not stop a run but is likely to spoil the video.

    Raises:
        ValueError: if its conditions are others than positive and negative, or a text is missing that will be read.
    """
    if unknown := set(guider.conds) - _CONDITIONS:
        raise ValueError(
            f"Exo2EgoSyn recognizes CFG's null branch by positive and negative, and this guider also has "
            f"{', '.join(sorted(unknown))}. Use KSampler, CFGGuider or BasicGuider."
        )
    without_frame = [name for name, conditioning in guider.conds.items() if not all(map(has_first_frame, conditioning))]
    notes = []
    if components.parts and without_frame:
        names = " and ".join(sorted(without_frame))
        notes.append(f"Exo2EgoSyn: {names} without a first frame. Connect what Exo2EgoSyn Conditioning gives.")
    if components.get(Component.MULTIEXOCON) is None and any(map(has_no_text, guider.conds.values())):
        raise ValueError(
            "Without MultiExoCon the model reads text, and Exo2EgoSyn Conditioning was given none: connect an "
            "empty prompt (CLIP Text Encode) to positive and negative, or load a MultiExoCon file."
        )
    for part in components.parts.values():
        if guider.cfg != 1 and (reason := guidance_note(part)) is not None:
            notes.append(
                f"{reason}, so CFG's null branch may mean nothing to it: sample with CFG 1, not {guider.cfg:g}."
            )
    tails = {entry.get(COND_TAIL_KEY) for conditioning in guider.conds.values() for entry in conditioning}
    if (trained := components.cond_tail) is not None and tails - {None, trained}:
        notes.append(
            f"The components were trained with cond_tail {trained}, and the conditioning was made with "
            f"{' and '.join(sorted(tails - {None, trained}))}: connect the components to EgoExo-Align Predict, and its "
            "first latent to Exo2EgoSyn Conditioning."
        )
    return notes


def _sizes(shape: Sequence[int]) -> str:
    frames, height, width = shape[2:]
    return f"{frames} latent frames of {width} x {height} cells"
