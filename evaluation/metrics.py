"""What each measure is called, which way is better, and how the papers write it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A measure for tables.

    Attributes:
        label: as the papers write it.
        higher_is_better: `None` where neither end is better.
        digits: after the point, in EgoX's table.
    """

    label: str
    higher_is_better: bool | None
    digits: int = 3

    @property
    def heading(self) -> str:
        """The label with the papers' arrow."""
        return self.label + {True: " \u2191", False: " \u2193", None: ""}[self.higher_is_better]


METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR", True, 2),
    "ssim": Metric("SSIM", True),
    "lpips": Metric("LPIPS", False),
    "st_lpips": Metric("ST-LPIPS", False),
    "clip_i": Metric("CLIP-I", True),
    "object_location": Metric("Location Error", False, 2),
    "object_iou": Metric("IoU", True),
    "object_contour": Metric("Contour Accuracy", True),
    "fvd": Metric("FVD", False, 2),
}
REGION_METRICS: dict[str, Metric] = {
    "psnr_seen": Metric("PSNR, seen", True, 2),
    "psnr_unseen": Metric("PSNR, unseen", True, 2),
    "ssim_seen": Metric("SSIM, seen", True),
    "ssim_unseen": Metric("SSIM, unseen", True),
    "unseen_percent": Metric("unseen %", None, 1),
}
ALL_METRICS = METRICS | REGION_METRICS
