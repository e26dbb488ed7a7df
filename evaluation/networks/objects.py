"""EgoX's object criteria: SAM 2 finds and follows objects, DINOv3 tells which are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...common.cancel import cancel_point
from .object_matching import box_of, matches, object_scores
from .weights import Weights, library

SAM2, DINOV3 = "facebook/sam2-hiera-large", "facebook/dinov3-vitl16-pretrain-lvd1689m"
_LEAST_AREA = 2000  # pixels of an object in the first frame
_POINTS = 32  # a side, from which SAM 2 looks for objects


class ObjectScores:
    """Scores of the objects of a clip.

    Args:
        weights: where to look for SAM 2 and DINOv3.
        least_area: pixels of an object in the first frame.
        points: a side, from which objects are looked for.
        search: further settings of the search, in place of SAM 2's own.

    Raises:
        WeightsMissingError: if one of them, or `transformers`, is not there.
    """

    name = "objects"

    def __init__(
        self, weights: Weights, *, least_area: int = _LEAST_AREA, points: int = _POINTS, **search: Any
    ) -> None:
        transformers = library("transformers", "Object scores")

        def load(kind: str, repository: str) -> Any:
            return weights.pretrained(getattr(transformers, kind).from_pretrained, repository, "Object scores")

        self._device, self._least_area = weights.device, least_area
        self._search = {"points_per_crop": points, **search}
        self._tracker = load("Sam2VideoModel", SAM2).eval().to(weights.device)
        self._tracking = load("Sam2VideoProcessor", SAM2)
        self._finder = transformers.pipeline(
            "mask-generation",
            model=load("Sam2Model", SAM2).eval(),
            image_processor=self._tracking.image_processor,
            device=weights.device,
        )
        self._appearance = load("DINOv3ViTModel", DINOV3).eval().to(weights.device)
        self._looking = load("AutoImageProcessor", DINOV3)

    @torch.no_grad()
    def __call__(self, pred: Tensor, truth: Tensor) -> Mapping[str, Tensor]:
        """Return the three scores of clips [F, H, W, 3] in [0, 1]; NaN where nothing was matched."""
        (true, true_looks), (made, made_looks) = (self._objects(clip) for clip in (truth, pred))
        return object_scores(true, made, matches(true_looks, made_looks))

    def _objects(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks [N, F, H, W] of a clip's objects, and embeddings [N, D] of how they look in its first frame."""
        from PIL import Image

        pictures = [Image.fromarray(frame.mul(255).round().byte().numpy()) for frame in clip]
        first = self._found(pictures[0])
        if not first:
            return torch.zeros(0, len(clip), *clip.shape[1:3], dtype=torch.bool), torch.zeros(0, 1)
        looks = []
        for mask in first:
            cancel_point()
            inputs = self._looking(images=pictures[0].crop(box_of(mask)), return_tensors="pt").to(self._device)
            tokens = self._appearance(**inputs).last_hidden_state[0]  # [1 + registers + patches, D]
            looks.append(tokens[1 + self._appearance.config.num_register_tokens :].mean(dim=0).double().cpu())
        return self._followed(pictures, first), torch.stack(looks)

    def _found(self, picture: Any) -> list[Tensor]:
        """Return masks [H, W] of the objects of an image that are large enough."""
        masks = self._finder(picture, **self._search)["masks"]
        found = (torch.as_tensor(mask).bool().cpu() for mask in masks)
        return [mask for mask in found if int(mask.sum()) >= self._least_area]

    def _followed(self, pictures: list[Any], first: list[Tensor]) -> Tensor:
        """Follow objects from their masks in the first frame through the clip, [N, F, H, W]."""
        session = self._tracking.init_video_session(video=pictures, inference_device=self._device)
        numbers = list(range(1, len(first) + 1))
        masks = [mask.numpy() for mask in first]
        self._tracking.add_inputs_to_inference_session(session, frame_idx=0, obj_ids=numbers, input_masks=masks)
        self._tracker(session, frame_idx=0)
        size = [[pictures[0].height, pictures[0].width]]
        frames = []
        for out in self._tracker.propagate_in_video_iterator(session):
            cancel_point()
            frames.append(self._tracking.post_process_masks([out.pred_masks], original_sizes=size)[0][:, 0].cpu())
        return torch.stack(frames, dim=1).bool()
