"""EgoX on Wan 2.1: load, condition, apply. Its attention: see `gga`."""

from __future__ import annotations

from functools import partial
from typing import Any

import folder_paths
from comfy_api.latest import io
from torch import Tensor

from ...wan.egox.apply import ExoSettings, apply_egox
from ...wan.egox.conditioning import ClipPicture, condition_egox
from ...wan.egox.lora import LoraForm, apply_lora, placement, read_lora
from ...wan.egox.match import Match, match_of_latent
from ...wan.egox.trained import differences_of
from ...wan.shared.base_model import require_wan21_i2v
from ..common.model_files import ListedInput, model_names
from ..common.progress import logger, show_text, warn
from ..common.schema import schema

_MATCHES = [match.value for match in Match]
_PICTURES = [picture.value for picture in ClipPicture]
_PRIORS = _PRIOR, _NO_PRIOR = ["as rendered", "none (ablation)"]
_EXO_NOISES = _CLEAN, _NOISY = ["clean", "noisy (ablation)"]
_LAST_FRAME_MASKS = _AS_MATCHED, _OFF, _ON = ["as matched", "off", "on"]


class Exo2EgoEgoXLoader(io.ComfyNode):
    """Wan 2.1 I2V with EgoX's LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "Exo2EgoEgoXLoader",
            "EgoX LoRA Loader",
            "egox",
            "Checks that the model is Wan 2.1 image-to-video and puts EgoX's LoRA on it. ComfyUI's own LoRA loaders "
            "do not know that file's key names and would load nothing. On fp8, int8 and GGUF base models it is "
            "computed beside the weights, which are not rounded a second time.",
            search_aliases=["egox model", "exo2ego lora"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Wan 2.1 I2V 14B from any loader: Load Diffusion Model (bf16, fp16, fp8) or a GGUF loader.",
                ),
                ListedInput(
                    "lora_name",
                    lambda: model_names("loras"),
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
                    tooltip="merge: into the weights, as ComfyUI's own loaders; an fp8 base model then rounds the sum "
                    "again, which costs about as much as the LoRA brings. beside the weights: added to the layers' "
                    "outputs, in full precision and for little more time and memory. auto: beside on fp8, int8 and "
                    "GGUF base models, merged on bf16, fp16 and fp32. The node shows which one it used.",
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
        patched = apply_lora(model, lora, strength, place.form, report=partial(warn, cls))
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
                    "exo",
                    tooltip="The exo video: 4n+1 frames, width and height multiples of 16 (EgoX: 49 of 784 x 448).",
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
                io.Combo.Input(
                    "match",
                    options=_MATCHES,
                    default=Match.INFERENCE.value,
                    optional=True,
                    tooltip="Whose settings the whole run follows; EgoX Apply and GGA take theirs from here. released "
                    "inference: as the published results were made. released training: as the LoRA was trained (GGA's "
                    "geometry, lambda 1, a black CLIP image, the mask of the last frame); a reproduction got better "
                    "results so.",
                ),
                io.Combo.Input(
                    "clip_picture",
                    options=_PICTURES,
                    default=ClipPicture.AS_MATCHED.value,
                    optional=True,
                    tooltip="What the image encoder sees. as matched: real for released inference, black for released "
                    "training. real: the middle square of the first frame of [exo | noise]. black: a black image.",
                ),
                io.Combo.Input(
                    "prior",
                    options=_PRIORS,
                    default=_PRIOR,
                    optional=True,
                    tooltip="none (ablation): the model gets a black video in place of the ego prior, to see what the "
                    "prior does. ego_prior then gives the size alone.",
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
        match: str = Match.INFERENCE.value,
        clip_picture: str = ClipPicture.AS_MATCHED.value,
        prior: str = _PRIOR,
    ) -> io.NodeOutput:
        made = condition_egox(
            positive,
            negative,
            vae,
            exo,
            ego_prior,
            clip_vision,
            match=Match(match),
            clip_picture=ClipPicture(clip_picture),
            without_prior=prior == _NO_PRIOR,
        )
        if made.notes:
            warn(cls, " ".join(made.notes))
        show_text(cls, made.in_force)
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
                io.Latent.Input("exo_latent", tooltip="From EgoX Conditioning; its 'match' comes with it."),
                io.Combo.Input(
                    "last_frame_mask",
                    options=_LAST_FRAME_MASKS,
                    default=_AS_MATCHED,
                    optional=True,
                    tooltip="Whether the mask marks the exo view of the clip's last frame as given, beside that of the "
                    "first. as matched: off for released inference, on for released training.",
                ),
                io.Combo.Input(
                    "exo_noise",
                    options=_EXO_NOISES,
                    default=_CLEAN,
                    optional=True,
                    tooltip="clean: the exo latent stays clean at every step, as EgoX was trained. noisy (ablation): "
                    "it carries the noise of the current step, from the sampler's seed, to see what the clean latent "
                    "does.",
                ),
            ],
            outputs=[io.Model.Output("egox_model", display_name="model")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model: Any, exo_latent: dict[str, Any], last_frame_mask: str = _AS_MATCHED, exo_noise: str = _CLEAN
    ) -> io.NodeOutput:
        told = match_of_latent(exo_latent)
        settings = ExoSettings(
            match=told or Match.INFERENCE,
            last_frame_mask=None if last_frame_mask == _AS_MATCHED else last_frame_mask == _ON,
            noisy=exo_noise == _NOISY,
        )
        patched = apply_egox(model, exo_latent["samples"], settings)
        from_where = "" if told else " The exo latent contains no match, so the default is used."
        text = settings.describe() + from_where
        if differs := differences_of(patched):
            warn(cls, differs)
        show_text(cls, text)
        return io.NodeOutput(patched)


NODES = [Exo2EgoEgoXLoader, Exo2EgoEgoXConditioning, Exo2EgoEgoXApply]
