"""What CLIP sees, against transformers' own CLIP processor.

The processor resizes in 8 bits by PIL, core's `clip_preprocess` in float32 by torch, both bicubic with antialiasing and
both rounded to 8 bits. At both sizes below a pixel differs by two grey levels at most, and by 0.3 on average.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from exo2ego.takes.example.room import ExampleRoom
from exo2ego.wan.egox.conditioning import ClipPicture, condition_egox
from exo2ego.wan.egox.match import Match
from support.egox_witness import MEAN, STD
from support.standin_nodes.configs import CLIP_VISION_CONFIG
from support.tiny_encoders import clip_vision_state_dict

GREY_LEVEL = 1 / 255
LARGEST, AVERAGE = 2.5 * GREY_LEVEL, 0.5 * GREY_LEVEL
SIZES = {"release": (448, 784, 448), "small": (64, 128, 64)}  # height, exo and ego width
CLIP_MEAN, CLIP_STD = (
    torch.tensor(values).view(3, 1, 1)
    for values in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
)


@dataclass
class Seen:
    """What went through a conditioning: latents that the VAE decoded, pictures that it made, pixels that CLIP got."""

    latents: list[Tensor] = field(default_factory=list)
    pictures: list[Tensor] = field(default_factory=list)
    pixels: list[Tensor] = field(default_factory=list)


@pytest.fixture(scope="module")
def vae(tiny_files) -> Any:
    import comfy.sd
    import comfy.utils

    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(tiny_files["vae"])))


@pytest.fixture(scope="module")
def clip_vision(tmp_path_factory) -> Any:
    """A real CLIP vision model with the sizes of ViT-H where pixels come in."""
    import comfy.clip_vision

    config = tmp_path_factory.mktemp("clip_vision") / "config.json"
    config.write_text(json.dumps(CLIP_VISION_CONFIG))
    model = comfy.clip_vision.ClipVisionModel(str(config))
    model.load_sd(clip_vision_state_dict())
    return model


@pytest.fixture(scope="module")
def processor() -> Any:
    """The processor of CLIP ViT-H, as Wan 2.1 I2V ships it."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"shortest_edge": 224},
        crop_size={"height": 224, "width": 224},
        resample=3,  # bicubic
        image_mean=CLIP_MEAN.flatten().tolist(),
        image_std=CLIP_STD.flatten().tolist(),
    )


@pytest.fixture
def seen(vae, clip_vision, monkeypatch) -> Seen:
    found = Seen()
    decode, encode = vae.decode, clip_vision.model.forward

    def watched_decode(latent: Tensor) -> Tensor:
        found.latents.append(latent.clone())
        found.pictures.append(decode(latent))
        return found.pictures[-1]

    def watched_forward(*args: Any, pixel_values: Tensor, **kwargs: Any) -> Any:
        found.pixels.append(pixel_values.clone())
        return encode(*args, pixel_values=pixel_values, **kwargs)

    monkeypatch.setattr(vae, "decode", watched_decode)
    monkeypatch.setattr(clip_vision.model, "forward", watched_forward)
    return found


def condition(vae: Any, clip_vision: Any, size: str, **settings: Any) -> tuple[Tensor, Any]:
    """Condition on one frame of the example room; returns the exo frame and what was made."""
    height, exo_width, ego_width = SIZES[size]
    room = ExampleRoom(1)
    exo = room.color(room.exo_camera(exo_width, height))
    text = [[torch.zeros(1, 8, 4096), {}]]
    with torch.inference_mode():
        made = condition_egox(text, text, vae, exo, torch.zeros(1, height, ego_width, 3), clip_vision, **settings)
    return exo, made


def processed(processor: Any, picture: Tensor) -> Tensor:
    """What transformers' processor makes of a picture [H, W, 3] in [0, 1]: [3, 224, 224] in [0, 1]."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.asarray((picture * 255).round().to(torch.uint8)))
    return processor(images=image, return_tensors="pt")["pixel_values"][0] * CLIP_STD + CLIP_MEAN


def as_picture(pixels: Tensor) -> Tensor:
    """CLIP's normalised pixels [1, 3, 224, 224] as [3, 224, 224] in [0, 1]."""
    return pixels[0] * CLIP_STD + CLIP_MEAN


@pytest.mark.parametrize(
    ("size", "settings"),
    [("release", {}), ("small", {}), ("small", {"match": Match.TRAINING, "clip_picture": ClipPicture.REAL})],
    ids=str,
)
def test_clip_sees_the_middle_square_of_exo_and_noise(vae, clip_vision, processor, seen, size, settings):
    exo, made = condition(vae, clip_vision, size, **settings)
    exo_width = SIZES[size][1] // 8
    ((latent,), (picture,), (pixels,)) = seen.latents, seen.pictures, seen.pixels
    # Exo on the left, noise on the right, of one latent frame.
    with torch.inference_mode():
        torch.testing.assert_close(latent[..., :exo_width], vae.encode(exo[..., :3]).reshape(1, 16, 1, -1, exo_width))
    mean, std = (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (MEAN, STD))
    noise = (latent[..., exo_width:] - mean) / std
    assert noise.shape[-1] == SIZES[size][2] // 8
    assert abs(float(noise.mean())) < 0.1
    assert abs(float(noise.std()) - 1) < 0.1
    # The picture that CLIP's own processor makes of it.
    expected = processed(processor, picture.reshape(picture.shape[-3:]))
    error = (as_picture(pixels) - expected).abs()
    assert float(error.max()) <= LARGEST
    assert float(error.mean()) <= AVERAGE
    assert float(expected.std()) > 20 * GREY_LEVEL, "an even picture would agree with any"
    features = made.positive[0][1]["clip_vision_output"]
    assert features is made.negative[0][1]["clip_vision_output"]


@pytest.mark.parametrize(
    "settings", [{"match": Match.TRAINING}, {"clip_picture": ClipPicture.BLACK}], ids=["training", "black"]
)
def test_clip_sees_black_as_in_training(vae, clip_vision, processor, seen, settings):
    exo, _ = condition(vae, clip_vision, "small", **settings)
    assert not seen.pictures, "nothing is to be decoded for a black picture"
    (pixels,) = seen.pixels
    black = as_picture(pixels)
    assert float(black.abs().max()) < 1e-6
    # The trainer's picture: the real one, divided by 255 once more than it should be.
    twice = processed(processor, exo[0]) * GREY_LEVEL
    assert float((twice - black).abs().max()) <= 1.001 * GREY_LEVEL


def test_real_and_black_give_other_features(vae, clip_vision):
    real, black = (
        condition(vae, clip_vision, "small", match=match)[1].positive[0][1]["clip_vision_output"] for match in Match
    )
    difference = (real.penultimate_hidden_states - black.penultimate_hidden_states).abs().max()
    assert float(difference) > 0.1


def test_another_image_encoder_is_refused(vae, tmp_path):
    import comfy.clip_vision

    config = tmp_path / "config.json"
    small = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 3}
    config.write_text(json.dumps({**CLIP_VISION_CONFIG, **small}))
    other = comfy.clip_vision.ClipVisionModel(str(config))
    with pytest.raises(ValueError, match=r"1280 wide, and this image encoder makes 64\. Load clip_vision_h"):
        condition(vae, other, "small")
