"""Depth: what any pack's depth means, and its alignment over time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...geometry.depth.align import AlignmentMethod, align_depth
from ...geometry.depth.checks import eight_bit_levels
from ...geometry.depth.core_geometry import Geometry, read_da3, read_moge
from ...geometry.depth.declared import Declared, DepthUnit
from ...geometry.depth.depth import Depth, DepthMeaning
from ...geometry.depth.dynamic_mask import mask_to_frames
from ...takes.clips.cut import Cut
from ...takes.depth_files.names import DEPTH_FILES
from ...takes.depth_files.read import MapsPart
from ..common.input_files import NamedInput, input_folder
from ..common.own_inputs import DepthImages, cut_input, mask_or_track, track_inputs
from ..common.previews import depth_preview, image_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket, DA3GeometrySocket, DepthSocket, MoGeGeometrySocket
from ..drawings.plots import alignment_chart


class Exo2EgoDepth(io.ComfyNode):
    """Depth maps of any pack, with their declared meaning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoDepth",
            "Depth",
            "depth",
            "Takes depth from any pack's IMAGE or from a file and states what its values mean. A depth image "
            "from 0 to 1 has no metric scale: align it to a metric depth with Align Depth.",
            search_aliases=["depth map", "metric depth", "disparity"],
            inputs=[
                io.Combo.Input(
                    "meaning",
                    options=[meaning.value for meaning in DepthMeaning],
                    default=DepthMeaning.METRIC.value,
                    tooltip="metric depth: metres (DepthPro, metric checkpoints). inverse depth: near is large, any "
                    "scale. normalised inverse depth: 0 to 1, near is white, as Depth Anything, Video Depth Anything "
                    "and DepthCrafter give as images.",
                ),
                NamedInput(
                    "file",
                    DEPTH_FILES,
                    tooltip="Depth below the input folder: .npy, .npz, OpenEXR, TIFF or 16-bit PNG, as one file, a "
                    "folder or a pattern such as depth/frame_%04d.exr; or a gray video. It takes the place of images, "
                    "where both are given.",
                ),
                io.Float.Input(
                    "near",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.01,
                    tooltip="Metres that white stands for, if known. With far, normalised depth becomes metric; 0: "
                    "unknown.",
                ),
                io.Float.Input(
                    "far",
                    default=0.0,
                    min=0.0,
                    max=10000.0,
                    step=0.1,
                    tooltip="Metres that black stands for; 0: unknown.",
                ),
                DepthImages(
                    "images",
                    optional=True,
                    lazy=True,
                    tooltip="The depth as another pack gives it, one image a frame. With a file it is not asked for.",
                ),
                cut_input("depth"),
                io.Combo.Input(
                    "unit",
                    options=[unit.value for unit in DepthUnit],
                    default=DepthUnit.METRES.value,
                    optional=True,
                    tooltip="Unit of metric depth. 16-bit PNG and TIFF are mostly in millimetres: their whole numbers "
                    "count as they are written, and so do those of videos (0 to 255).",
                ),
                io.Float.Input(
                    "factor",
                    default=1.0,
                    min=0.0,
                    max=1_000_000.0,
                    step=0.0001,
                    round=False,
                    optional=True,
                    tooltip="With unit 'own factor': metres that the number 1 of the file stands for.",
                ),
                io.Int.Input(
                    "start",
                    default=0,
                    min=0,
                    max=1_000_000,
                    optional=True,
                    tooltip="First map of the file that counts, from 0; with cut the one of the clip's first frame.",
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=1_000_000,
                    optional=True,
                    tooltip="Maps of the file that count; 0: all that follow. With cut as many as the whole clip has "
                    "frames.",
                ),
                MoGeGeometrySocket.Input(
                    "moge_geometry",
                    optional=True,
                    tooltip="Instead of images: what MoGe Inference of newer ComfyUIs gives. Its camera goes out too.",
                ),
                DA3GeometrySocket.Input(
                    "da3_geometry",
                    optional=True,
                    tooltip="Instead of images: what Run Depth Anything 3 of newer ComfyUIs gives; of several views "
                    "their camera goes out too. Metres with its Metric-Large model; else scale it by factor.",
                ),
            ],
            outputs=[
                DepthSocket.Output("depth", display_name="depth"),
                CameraSocket.Output(
                    "camera",
                    display_name="camera",
                    tooltip="Of MoGe or Depth Anything 3; or nothing.",
                ),
                io.Mask.Output("mask", display_name="mask", tooltip="White where there is depth."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def check_lazy_status(cls, **values: Any) -> list[str]:
        # A depth model that nothing asks for is neither loaded nor missed.
        return ["images"] if values.get("file") == DEPTH_FILES.built_in and "images" in values else []

    @classmethod
    def execute(
        cls,
        meaning: str,
        file: str,
        near: float,
        far: float,
        images: Tensor | None = None,
        cut: Cut | None = None,
        unit: str = DepthUnit.METRES.value,
        factor: float = 1.0,
        start: int = 0,
        frames: int = 0,
        moge_geometry: Any = None,
        da3_geometry: Any = None,
    ) -> io.NodeOutput:
        declared = Declared(DepthMeaning(meaning), near or None, far or None, DepthUnit(unit), factor)
        connected = {"images": images, "moge_geometry": moge_geometry, "da3_geometry": da3_geometry}
        given = [name for name, value in connected.items() if value is not None]
        camera = None
        if file != DEPTH_FILES.built_in:
            read = DEPTH_FILES.load(
                input_folder(),
                file,
                declared=declared,
                part=MapsPart(start, frames),
                cut=cut,
                progress=progress_bar(),
            )
            depth, said = read.depth, read.report
            said += f" The file takes the place of {' and '.join(given)}." if given else ""
        elif len(given) != 1:
            raise ValueError(
                f"Give depth images, the geometry of one model, or a depth file: {' and '.join(given) or 'none'} "
                "arrived. Connect one, or choose a file."
            )
        elif images is not None:
            cut = None if cut is not None and cut.has_made(images) else cut
            images = images if cut is None else cut.in_time(images, "depth images")
            depth = declared.of_images(images)
            depth = depth if cut is None else cut.depth(depth)
            levels = eight_bit_levels(images)
            said = f"The images went through 8 bit ({levels} levels)." if levels else ""
        else:
            geometry = _geometry(declared, moge_geometry, da3_geometry, cut)
            depth, camera, said = geometry.depth, geometry.camera, " ".join(geometry.notes)
        _report(cls, depth, said)
        return io.NodeOutput(depth, camera, depth.valid.float(), ui=depth_preview(depth))


def _geometry(declared: Declared, moge: Any, da3: Any, cut: Cut | None) -> Geometry:
    """Read what a model gives in metres, through the cut of the clip it belongs to."""
    if declared.meaning is not DepthMeaning.METRIC:
        raise ValueError(
            f"MoGe and Depth Anything 3 give {DepthMeaning.METRIC.value}, not {declared.meaning.value}. Choose "
            f"{DepthMeaning.METRIC.value}; where their lengths are not metres, set unit to {DepthUnit.OWN.value}."
        )
    geometry = read_da3(da3, declared.scale()) if moge is None else read_moge(moge, declared.scale())
    if cut is None:
        return geometry
    depth = replace(geometry.depth, values=cut.in_time(geometry.depth.values, "depth maps"))
    camera = None if geometry.camera is None else cut.camera(geometry.camera)
    return replace(geometry, depth=cut.depth(depth), camera=camera)


class Exo2EgoAlignDepth(io.ComfyNode):
    """Temporal depth brought to metric scale, frame by frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoAlignDepth",
            "Align Depth",
            "depth",
            "Gives a smooth temporal depth (Video Depth Anything and the like) the metres of a metric depth: per "
            "frame a scale and an offset of inverse depth, as ViPE and EgoX do (Eq. 1). Without a temporal depth the "
            "metric one passes through and the report shows how much it flickers.",
            search_aliases=["ViPE", "depth scale", "flicker"],
            inputs=[
                DepthSocket.Input("metric", tooltip="Metric depth of every frame; it may flicker."),
                DepthSocket.Input(
                    "temporal",
                    optional=True,
                    tooltip="Smooth depth of the same frames, without metres (inverse depth).",
                ),
                io.Mask.Input(
                    "moving",
                    optional=True,
                    tooltip="White where people and things move: those pixels are kept out of the fit.",
                ),
                io.Combo.Input(
                    "method",
                    options=[method.value for method in AlignmentMethod],
                    default=AlignmentMethod.VIPE.value,
                    tooltip="vipe: least squares in the middle 80% of depths, as the paper. robust: also withstands "
                    "outliers that no mask covers.",
                ),
                io.Float.Input(
                    "momentum",
                    default=0.99,
                    min=0.0,
                    max=0.999,
                    step=0.01,
                    tooltip="How much of the previous frame's fit is kept. 0.99 as in ViPE; 0 fits each frame for "
                    "itself.",
                ),
                cut_input("a mask", " Only the mask follows: give depth as Depth hands it out."),
                *track_inputs("moving"),
            ],
            outputs=[
                DepthSocket.Output("depth", display_name="depth"),
                io.Image.Output("chart", display_name="chart"),
                io.String.Output("report", display_name="report"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        metric: Depth,
        method: str,
        momentum: float,
        temporal: Depth | None = None,
        moving: Tensor | None = None,
        cut: Cut | None = None,
        sam3_track: Any = None,
        track_objects: str = "",
    ) -> io.NodeOutput:
        n_frames, height, width = metric.values.shape
        moving = mask_or_track("moving", moving, sam3_track, track_objects)
        if moving is not None and cut is not None:
            moving = cut.mask(moving)
        dynamic = None if moving is None else mask_to_frames(moving, n_frames, height, width)
        alignment = align_depth(temporal, metric, dynamic, AlignmentMethod(method), momentum, progress=progress_bar())
        chart = alignment_chart(alignment)
        show_text(cls, alignment.summary())
        return io.NodeOutput(alignment.depth, chart, alignment.summary(), ui=image_preview(chart))


def _report(node: type, depth: Depth, said: str) -> None:
    contradictions = depth.contradictions()
    if contradictions:
        warn(node, " ".join([*contradictions, said]).strip())
    else:
        show_text(node, "\n".join([depth.describe(), *([said] if said else [])]))


NODES = [Exo2EgoDepth, Exo2EgoAlignDepth]
