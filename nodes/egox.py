"""EgoX on Wan 2.1: load, condition, apply, guide the attention."""

from __future__ import annotations

import logging
from typing import Any

import folder_paths
from comfy_api.latest import io
from torch import Tensor

from ..attention.backends import BACKEND_VARIABLE, Backend
from ..attention.bias import GGAForm
from ..attention.layout import TokenLayout
from ..geometry.camera import Camera
from ..geometry.depth import Depth
from ..geometry.directions import GGAGeometry, gga_directions
from ..wan.base_model import require_wan21_i2v
from ..wan.egox_conditioning import condition_egox
from ..wan.egox_patch import apply_egox
from ..wan.gga_patch import GGASettings, apply_gga
from ..wan.lora import LoraForm, apply_lora, placement, read_lora
from .progress import progress_bar, show_text, warn
from .schema import schema
from .sockets import CameraSocket, DepthSocket

logger = logging.getLogger(__name__)

_LAST_BLOCK = -1
_MAX_BLOCK = 999


class Exo2EgoEgoXLoader(io.ComfyNode):
    """Wan 2.1 I2V with EgoX's LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoEgoXLoader",
            "EgoX LoRA Loader",
            "egox",
            "Checks that the model is Wan 2.1 image-to-video and puts EgoX's LoRA on it. ComfyUI's own LoRA loaders "
            "know none of that file's key names and would load nothing. On fp8, int8 and GGUF bases it goes beside the "
            "weights, which are not rounded a second time.",
            search_aliases=["egox model", "exo2ego lora"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Wan 2.1 I2V 14B from any loader: Load Diffusion Model (bf16, fp16, fp8) or a GGUF loader.",
                ),
                io.Combo.Input(
                    "lora_name",
                    options=folder_paths.get_filename_list("loras"),
                    tooltip="EgoX's LoRA (pytorch_lora_weights.safetensors of the release) in models/loras.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=-2.0, max=2.0, step=0.05, tooltip="1 as trained; 0 switches it off."
                ),
                io.Combo.Input(
                    "apply",
                    options=[form.value for form in LoraForm],
                    default=LoraForm.AUTO.value,
                    optional=True,
                    tooltip="merge: into the weights, as ComfyUI's own loaders; an fp8 base then rounds the sum again, "
                    "which costs about as much as the LoRA brings. beside the weights: added to what the layers give, "
                    "in full precision and for little more time and memory. auto: beside on fp8, int8 and GGUF bases, "
                    "merged on bf16, fp16 and fp32. The node says which it took.",
                ),
            ],
            outputs=[io.Model.Output("egox_model", display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model: Any, lora_name: str, strength: float, apply: str = LoraForm.AUTO.value) -> io.NodeOutput:
        require_wan21_i2v(model)
        lora = read_lora(folder_paths.get_full_path_or_raise("loras", lora_name))
        place = placement(model, lora, LoraForm(apply))
        patched = apply_lora(model, lora, strength, place.form)
        text = f"{lora_name}: {lora.describe()}; {place.describe()}"
        logger.info("%s", text)
        show_text(cls, text)
        return io.NodeOutput(patched, ui={"text": [text]})


class Exo2EgoEgoXConditioning(io.ComfyNode):
    """Both views as latents and conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoEgoXConditioning",
            "EgoX Conditioning",
            "egox",
            "Encodes the exo video and the ego prior. The ego latent goes to a stock KSampler, the exo latent to EgoX "
            "Apply.",
            search_aliases=["egox latent", "ego prior conditioning"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="The two-view prompt."),
                io.Conditioning.Input("negative", tooltip="What to avoid."),
                io.Vae.Input("vae", tooltip="Wan 2.1's VAE."),
                io.Image.Input(
                    "exo", tooltip="The exo video: 4n+1 frames, sides multiples of 16 (EgoX: 49 of 784 x 448)."
                ),
                io.Image.Input(
                    "ego_prior",
                    tooltip="The rendered ego prior, as long and as high as the exo video (EgoX: 448 x 448).",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Wan 2.1's image encoder (clip_vision_h). EgoX was trained with it; without it results "
                    "suffer.",
                ),
            ],
            outputs=[
                io.Conditioning.Output("egox_positive", display_name="positive"),
                io.Conditioning.Output("egox_negative", display_name="negative"),
                io.Latent.Output("exo_latent", display_name="exo latent", tooltip="For EgoX Apply."),
                io.Latent.Output("ego_latent", display_name="ego latent", tooltip="Empty; for the KSampler."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        positive: list[Any],
        negative: list[Any],
        vae: Any,
        exo: Tensor,
        ego_prior: Tensor,
        clip_vision: Any | None = None,
    ) -> io.NodeOutput:
        made = condition_egox(positive, negative, vae, exo, ego_prior, clip_vision)
        if made.notes:
            warn(cls, " ".join(made.notes))
        return io.NodeOutput(made.positive, made.negative, made.exo_latent, made.ego_latent)


class Exo2EgoEgoXApply(io.ComfyNode):
    """The exo latent joined to the model's input."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoEgoXApply",
            "EgoX Apply",
            "egox",
            "Puts the clean exo latent to the left of the noisy ego latent at every step and cuts it off the result, "
            "so that the KSampler sees an ordinary ego-sized latent.",
            search_aliases=["egox model patch", "exo latent"],
            inputs=[
                io.Model.Input("model", tooltip="From the EgoX LoRA Loader; other patches may come before or after."),
                io.Latent.Input("exo_latent", tooltip="From EgoX Conditioning."),
            ],
            outputs=[io.Model.Output("egox_model", display_name="model")],
        )

    @classmethod
    def execute(cls, model: Any, exo_latent: dict[str, Tensor]) -> io.NodeOutput:
        return io.NodeOutput(apply_egox(model, exo_latent["samples"]))


class Exo2EgoGGA(io.ComfyNode):
    """Geometry-guided attention."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoGGA",
            "Geometry-Guided Attention",
            "egox",
            "Lets every ego token look first at the exo tokens that lie in its own direction in space (paper section "
            "3.3).",
            search_aliases=["GGA", "geometry guided attention", "egox attention"],
            inputs=[
                io.Model.Input("model", tooltip="Before or after EgoX Apply."),
                CameraSocket.Input("exo_camera", tooltip="The exo camera, as for the point cloud."),
                DepthSocket.Input("depth", tooltip="The exo clip's metric depth, as for the point cloud."),
                CameraSocket.Input("ego_camera", tooltip="The ego camera, as for the ego prior."),
                io.Combo.Input(
                    "form",
                    options=[form.value for form in GGAForm],
                    default=GGAForm.RELEASE.value,
                    tooltip="release: positive cosines times lambda, plus 1, as the released code computes it and its "
                    "LoRA expects. paper: (cosine + 1) times lambda, Eq. 4 and 5.",
                ),
                io.Float.Input(
                    "strength",
                    display_name="lambda",
                    default=3.0,
                    min=0.01,
                    max=100.0,
                    step=0.1,
                    tooltip="lambda: 3 in the released inference scripts, 1 in training.",
                ),
                io.Combo.Input(
                    "geometry",
                    options=[geometry.value for geometry in GGAGeometry],
                    default=GGAGeometry.AS_RELEASED.value,
                    tooltip="as released: the released inference code to the digit, with a lens that is about 10 "
                    "degrees off; the default, as its published results were made so. as trained: what the training "
                    "code computes; a reproduction got better results with it. physical: the right lens and unit "
                    "directions, for LoRAs trained on it. paper average: directions averaged over 4x16x16 pixels "
                    "(section F.1).",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where in the sampling GGA begins.",
                ),
                io.Float.Input(
                    "end_percent", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="Where in the sampling GGA ends."
                ),
                io.Int.Input(
                    "first_block", default=0, min=0, max=_MAX_BLOCK, tooltip="First transformer block with GGA."
                ),
                io.Int.Input(
                    "last_block",
                    default=_LAST_BLOCK,
                    min=_LAST_BLOCK,
                    max=_MAX_BLOCK,
                    tooltip="Last transformer block with GGA; -1 is the model's last.",
                ),
                io.Combo.Input(
                    "backend",
                    options=[backend.value for backend in Backend],
                    default=Backend.AUTO.value,
                    optional=True,
                    tooltip="Who computes the guided attention. auto: the fastest that the machine has, named in the "
                    "log. triton: one fused kernel (NVIDIA, fp16 or bf16). flex: torch's FlexAttention. sdpa: plain "
                    "torch, every device. reference: dense, for small tests only. The environment variable "
                    f"{BACKEND_VARIABLE} decides where this says auto.",
                ),
            ],
            outputs=[io.Model.Output("gga_model", display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        exo_camera: Camera,
        depth: Depth,
        ego_camera: Camera,
        form: str,
        strength: float,
        geometry: str,
        start_percent: float,
        end_percent: float,
        first_block: int,
        last_block: int,
        backend: str = Backend.AUTO.value,
    ) -> io.NodeOutput:
        exo_camera = exo_camera.resized(depth.width, depth.height)

        def directions(layout: TokenLayout) -> tuple[Tensor, Tensor]:
            found = gga_directions(
                exo_camera,
                depth,
                ego_camera,
                latent_frames=layout.frames,
                exo_tokens=(layout.rows, layout.exo_columns),
                ego_tokens=(layout.rows, layout.ego_columns),
                geometry=GGAGeometry(geometry),
                progress=progress_bar(),
            )
            return found.ego_queries, found.exo_keys

        settings = GGASettings(
            form=GGAForm(form),
            strength=strength,
            start_percent=start_percent,
            end_percent=end_percent,
            first_block=first_block,
            last_block=last_block,
            backend=Backend(backend),
        )
        return io.NodeOutput(apply_gga(model, directions, settings))


NODES = [Exo2EgoEgoXLoader, Exo2EgoEgoXConditioning, Exo2EgoEgoXApply, Exo2EgoGGA]
