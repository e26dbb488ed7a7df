"""What Exo2EgoSyn is given: exo videos, the first ego frame, the conditioning."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...geometry.cameras.camera import Camera
from ...networks.components.metadata import Component
from ...networks.components.set import SynComponents
from ...wan.exo2egosyn.align_predict import align_notes, encode_first_frame, predict_first_latent
from ...wan.exo2egosyn.conditioning import condition_exo2egosyn
from ...wan.exo2egosyn.first_frame import FirstFrame, Origin, first_frame_of
from ...wan.exo2egosyn.views import MAX_VIEWS, ExoViews, encode_views
from ..common.previews import image_preview
from ..common.progress import progress_bar, show_text, warn
from ..common.schema import schema
from ..common.sockets import CameraSocket, ExoViewsSocket, SynSocket

_NUMBERS = range(1, MAX_VIEWS + 1)


class Exo2EgoMultiExoTokens(io.ComfyNode):
    """Exo videos as latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoMultiExoTokens",
            "Multi Exo Tokens",
            "exo2egosyn",
            "Encodes one to four exo videos of the same moment, each by itself. The model sees them as tokens: 768 for "
            "a view of 9 frames at 256 x 256.",
            search_aliases=["multiexocon", "exo views", "multi view", "exo tokens"],
            inputs=[
                io.Vae.Input("vae", tooltip="Wan 2.1's VAE (wan_2.1_vae), which Wan 2.2 A14B also uses."),
                *(
                    # Four sockets, not one that grows: only newer versions of ComfyUI have that (Autogrow).
                    io.Image.Input(
                        f"exo_{number}",
                        display_name=f"exo {number}",
                        optional=number > 1,
                        tooltip="An exo video: 4n+1 frames (the method: 9 at 7.5 a second), width and height multiples "
                        "of 16 (256 x 256, squeezed). All of one length and size.",
                    )
                    for number in _NUMBERS
                ),
            ],
            outputs=[
                ExoViewsSocket.Output(
                    "views", display_name="exo views", tooltip="For EgoExo-Align Predict, Conditioning and Apply."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, vae: Any, **videos: Tensor | None) -> io.NodeOutput:
        given = {name.replace("_", " "): videos[name] for name in sorted(videos) if videos[name] is not None}
        views = encode_views(vae, given, progress_bar())
        show_text(cls, f"{views.describe()}.")
        return io.NodeOutput(views, ui=image_preview(torch.stack([video[0, ..., :3] for video in given.values()])))


class Exo2EgoAlignPredict(io.ComfyNode):
    """The first ego frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoAlignPredict",
            "EgoExo-Align Predict",
            "exo2egosyn",
            "Predicts the first ego frame from the exo views and the cameras with EgoExo-Align. A real first frame, "
            "where you have one, replaces it and gives better videos.",
            search_aliases=["egoexo-align", "first frame", "ego frame prediction"],
            inputs=[
                SynSocket.Input("components", tooltip="From Exo2EgoSyn Loader, with an align file to predict."),
                io.Vae.Input("vae", tooltip="Wan 2.1's VAE, as for the exo videos."),
                ExoViewsSocket.Input("views", optional=True, tooltip="From Multi Exo Tokens; needed to predict."),
                CameraSocket.Input(
                    "ego_camera", optional=True, tooltip="The ego camera, whose first pose counts; needed to predict."
                ),
                *(
                    CameraSocket.Input(
                        f"exo_{number}_camera",
                        display_name=f"exo {number} camera",
                        optional=True,
                        tooltip=f"The camera of exo video {number}, in the world of the ego camera; needed to predict.",
                    )
                    for number in _NUMBERS
                ),
                io.Image.Input(
                    "first_frame",
                    optional=True,
                    tooltip="A real first ego frame, used instead of the prediction; of a video, the first frame.",
                ),
            ],
            outputs=[
                io.Latent.Output("first_latent", display_name="first latent", tooltip="For Exo2EgoSyn Conditioning."),
                io.Image.Output("preview", display_name="preview", tooltip="The same frame, decoded."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        components: SynComponents,
        vae: Any,
        views: ExoViews | None = None,
        ego_camera: Camera | None = None,
        first_frame: Tensor | None = None,
        **cameras: Camera | None,
    ) -> io.NodeOutput:
        if first_frame is not None:
            latent, text, notes = encode_first_frame(vae, first_frame), "A real first frame.", []
            first = FirstFrame(latent, first_frame[:1, ..., :3], components.cond_tail, Origin.REAL)
        else:
            align = components.get(Component.ALIGN)
            if align is None:
                raise ValueError(
                    "The components have no EgoExo-Align, so there is no first ego frame: choose an align file in "
                    "Exo2EgoSyn Loader, or connect a real first frame."
                )
            if views is None or ego_camera is None:
                missing = "exo views" if views is None else "ego camera"
                raise ValueError(f"To predict the first ego frame, connect the {missing} too.")
            connected = {f"exo {number}": cameras.get(f"exo_{number}_camera") for number in _NUMBERS}
            given = {name: camera for name, camera in connected.items() if camera is not None}
            latent = predict_first_latent(align, views, given, ego_camera)
            text, notes = f"Predicted by {align.file}.", align_notes(align, views, ego_camera)
            first = FirstFrame(latent, None, components.cond_tail, Origin.PREDICTED)
        for note in notes:
            warn(cls, note)
        show_text(cls, text)
        image = vae.decode(latent)
        image = image.reshape(-1, *image.shape[-3:])
        return io.NodeOutput(first.as_latent(), image, ui=image_preview(image))


class Exo2EgoSynConditioning(io.ComfyNode):
    """The first ego frame as Wan's image conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoSynConditioning",
            "Exo2EgoSyn Conditioning",
            "exo2egosyn",
            "Gives the sampler the first ego frame, as Wan's start image, and an empty latent of the clip's length. "
            "Everything after it is a stock KSampler: euler or uni_pc, 40 steps, CFG 3.5, shift 5.",
            search_aliases=["exo2egosyn latent", "start image", "first ego frame"],
            inputs=[
                ExoViewsSocket.Input("views", tooltip="From Multi Exo Tokens: the ego video gets their length."),
                io.Latent.Input(
                    "first_latent", tooltip="From EgoExo-Align Predict: the ego video gets its width and height."
                ),
                io.Vae.Input("vae", tooltip="Wan 2.1's VAE; it encodes the grey frames after the first."),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=64,
                    tooltip="Number of ego videos per run, each from different noise.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="An empty prompt. Not read with MultiExoCon, so it may stay unconnected there; needed "
                    "without.",
                ),
                io.Conditioning.Input("negative", optional=True, tooltip="An empty prompt, likewise."),
            ],
            outputs=[
                io.Conditioning.Output("syn_positive", display_name="positive"),
                io.Conditioning.Output("syn_negative", display_name="negative"),
                io.Latent.Output("ego_latent", display_name="ego latent", tooltip="Empty; for the KSampler."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        views: ExoViews,
        first_latent: dict[str, Tensor],
        vae: Any,
        batch_size: int,
        positive: list[Any] | None = None,
        negative: list[Any] | None = None,
    ) -> io.NodeOutput:
        first = first_frame_of(first_latent)
        made = condition_exo2egosyn(first, views.n_frames, vae, positive, negative, batch_size)
        show_text(cls, made.text)
        return io.NodeOutput(made.positive, made.negative, made.ego_latent)


NODES = [Exo2EgoMultiExoTokens, Exo2EgoAlignPredict, Exo2EgoSynConditioning]
