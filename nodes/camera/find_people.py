"""Find People: who is in the clip, where their joints are, and one person's mask, by local weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker
from torch import Tensor

from ...common.messages import few
from ...geometry.people.boxes import areas, overlaps
from ...geometry.people.coco import coco_frames
from ...geometry.people.tracks import PersonTrack, track_people
from ...networks.people.detector import detect_people
from ...networks.people.joints import find_joints
from ...networks.people.masks import follow_mask
from ...networks.pretrained_files import DETECTOR, MASKS, POSE, Pretrained
from ..common.links import linked_outputs
from ..common.pretrained import NONE, folder_of, make_room, weights_input
from ..common.previews import video_preview
from ..common.progress import progress_bar, show_text
from ..common.schema import schema
from ..common.sockets import PoseKeypointSocket
from ..drawings.people import draw_people

# Bytes that each network takes beside its weights: estimates for batches of a few pictures, on the safe side.
_ACTIVATIONS = {DETECTOR: 2 * 1024**3, POSE: 1024**3, MASKS: 3 * 1024**3}
_MASK_OUTPUT = 2
_NO_MASK = (
    "Find People made no mask, as no SAM 2 weights are chosen. Choose them in its input 'masks' (help page of the "
    "node), or disconnect its output mask and connect another pack's."
)


class Exo2EgoFindPeople(io.ComfyNode):
    """People of a clip: followed, numbered, with joints and a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoFindPeople",
            "Find People",
            "camera",
            "Finds the people of a clip, follows them and marks their joints, through transformers: RT-DETR finds, "
            "ViTPose marks, and SAM 2 makes one person's mask where its weights lie. Put the weights into folders "
            "below models/people.",
            search_aliases=["pose estimation", "openpose", "ViTPose", "person detection", "tracking", "SAM 2", "mask"],
            inputs=[
                io.Image.Input("images", tooltip="The exo video, as Depth and Point Cloud get it."),
                weights_input(
                    "detector",
                    DETECTOR,
                    "Folder below models/people with RT-DETR's weights as Hugging Face has them "
                    f"({DETECTOR.repository}).",
                ),
                weights_input(
                    "pose",
                    POSE,
                    f"Folder below models/people with ViTPose's weights ({POSE.repository}): 17 joints of COCO's body, "
                    "or 133 of its whole body.",
                ),
                weights_input(
                    "masks",
                    MASKS,
                    f"Folder below models/people with SAM 2's weights for video ({MASKS.repository}). none: no mask is "
                    "made; joints do not need it.",
                    or_none=True,
                ),
                io.Int.Input(
                    "person",
                    default=1,
                    min=1,
                    max=99,
                    tooltip="Whose mask: the number in the preview. People are numbered from 1 as they first appear, "
                    "of one frame the larger first. (Head Pose counts from 0.)",
                ),
                io.Float.Input(
                    "confidence",
                    default=0.5,
                    min=0.05,
                    max=0.95,
                    step=0.05,
                    tooltip="How sure the detector must be of somebody new; who is known already is followed down to "
                    "half of it. Lower it where people are missed, raise it where things are taken for people.",
                ),
            ],
            outputs=[
                PoseKeypointSocket.Output(
                    "keypoints",
                    display_name="keypoints",
                    tooltip="Everybody's joints in OpenPose's form, in order of their numbers: for Head Pose.",
                ),
                io.Image.Output("preview", display_name="preview", tooltip="The clip with numbered people."),
                io.Mask.Output(
                    "mask",
                    display_name="mask",
                    tooltip="The chosen person, frame by frame: for 'moving' of Point Cloud. Without SAM 2 there is "
                    "none, and what is connected stops with a message.",
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="Who was found, in which frames, how surely."
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(
        cls, images: Tensor, detector: str, pose: str, masks: str, person: int, confidence: float
    ) -> io.NodeOutput:
        n_frames, height, width = images.shape[:3]
        if masks == NONE and _MASK_OUTPUT in linked_outputs(cls):
            # The blocker alone would end the run without an error in its history; it serves links made later.
            raise ValueError(_NO_MASK)
        step = _counter((2 + (masks != NONE)) * n_frames)
        try:
            boxes = _run(detect_people, images, DETECTOR, detector, least=confidence / 2, step=step)
            tracks = track_people(boxes, confidence)
            _check_found(tracks, person, n_frames, confidence)
            where = torch.stack([track.boxes for track in tracks])
            joints = _run(find_joints, images, POSE, pose, boxes=where, step=step)
            mask = None
            if masks != NONE:
                frame = _clearest_frame(tracks, person - 1)
                box = where[person - 1, frame]
                mask = _run(follow_mask, images, MASKS, masks, frame=frame, box=box, step=step)
        except comfy.model_management.OOM_EXCEPTION as error:
            raise RuntimeError(
                "Find People ran out of memory. Close other programs that use the card, give fewer frames or smaller "
                "images, choose smaller weights, or set masks to none."
            ) from error
        finally:
            comfy.model_management.soft_empty_cache()
        scores = torch.stack([track.scores for track in tracks])
        preview = draw_people(images, where, scores, joints, person - 1, mask)
        report = _report(tracks, joints, person - 1, mask)
        show_text(cls, report)
        return io.NodeOutput(
            coco_frames(joints, width, height),
            preview,
            ExecutionBlocker(_NO_MASK) if mask is None else mask,
            report,
            ui=video_preview(preview),
        )


def _run(network: Callable[..., Any], images: Tensor, source: Pretrained, weights: str, **options: Any) -> Any:
    """Run one of the networks where ComfyUI wants it, after room was made for it."""
    folder, device = folder_of(source, weights), comfy.model_management.get_torch_device()
    make_room(folder, _ACTIVATIONS[source], device)
    if source is POSE:
        half = comfy.model_management.should_use_fp16(device)
        options["dtype"] = torch.float16 if half else torch.float32
    return network(images, folder=folder, device=device, **options)


def _counter(total: int) -> Callable[[], None]:
    """Return what counts frames on the progress bar, and raises when the artist cancels."""
    report, done = progress_bar(), 0

    def step() -> None:
        nonlocal done
        done = min(done + 1, total)
        report(done, total)

    return step


def _check_found(tracks: list[PersonTrack], person: int, n_frames: int, confidence: float) -> None:
    if not tracks:
        raise ValueError(
            f"Nobody was found in {n_frames} frames with a confidence of {confidence:g}. Lower confidence, check that "
            "the clip is upright and shows people, or connect another pack's POSE_KEYPOINT to Head Pose."
        )
    if person > len(tracks):
        raise ValueError(
            f"There is no person {person}: {len(tracks)} found, numbered from 1. Choose one of them, or lower "
            "confidence."
        )


def _clearest_frame(tracks: list[PersonTrack], person: int) -> int:
    """Return the frame that shows somebody best: surely, largely, and with nobody before or behind."""
    boxes, scores = tracks[person].boxes, tracks[person].scores
    clear = scores * areas(boxes).nan_to_num(0.0).sqrt()
    for other, track in enumerate(tracks):
        if other != person:
            shared = torch.stack([overlaps(a[None], b[None])[0, 0] for a, b in zip(boxes, track.boxes)])
            clear = clear * (1 - shared) ** 2
    return int(clear.argmax())


def _report(tracks: list[PersonTrack], joints: Tensor, chosen: int, mask: Tensor | None) -> str:
    """Say who was found: in how many frames, how surely, how many joints."""
    n_frames = len(tracks[0].boxes)
    lines = []
    for number, track in enumerate(tracks, 1):
        there = track.present
        first, last = int(there.nonzero()[0]), int(there.nonzero()[-1])
        seen = track.scores > 0
        filled = int((there & ~seen).sum())
        lines.append(
            f"person {number}: frames {first} to {last}, confidence {float(track.scores[seen].mean()):.2f}, joints "
            f"{float(joints[number - 1, there, :, 2].mean()):.2f}" + (f", {filled} frames filled" if filled else "")
        )
    told = f"{len(tracks)} {'person' if len(tracks) == 1 else 'people'} in {n_frames} frames; {few(lines, 8)}."
    if mask is None:
        return f"{told} No mask: no SAM 2 weights are chosen."
    return f"{told} The mask of person {chosen + 1} covers {100 * float(mask.mean()):.1f} % of the clip."


NODES = [Exo2EgoFindPeople]
