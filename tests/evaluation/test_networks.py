"""Measures by networks: on small random weights, and what is told where weights are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from exo2ego.evaluation import score_clips
from exo2ego.evaluation.networks import NETWORKS, WeightsMissingError, load_networks
from exo2ego.evaluation.networks.fvd import I3D_FILE, frechet_distance

CPU = torch.device("cpu")


@pytest.fixture
def clip():
    truth = torch.rand(17, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    return (truth + 0.1).clamp(0, 1), truth


@pytest.fixture
def no_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))


def test_what_is_not_there_says_what_to_do(no_caches, tmp_path):
    missing = load_networks(list(NETWORKS), tmp_path, CPU, required=False).missing
    assert {"clip-i", "fvd"} <= set(missing)
    assert I3D_FILE in missing["fvd"]
    assert str(tmp_path) in missing["fvd"]
    assert "hf download openai/clip-vit-base-patch32" in missing["clip-i"]
    assert all("--weights" in why or "pip install 'comfyui-exo2ego[evaluate]'" in why for why in missing.values())
    with pytest.raises(WeightsMissingError, match="FVD needs"):
        load_networks(["fvd"], tmp_path, CPU, required=True)
    (tmp_path / I3D_FILE).write_bytes(b"PK no TorchScript")
    with pytest.raises(WeightsMissingError, match="not a TorchScript file"):
        load_networks(["fvd"], tmp_path, CPU, required=True)


def test_clip_i_is_the_cosine_of_embeddings(clip, tmp_path):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    pred, truth = (part[:3] for part in clip)
    small = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**small, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config={**small, "vocab_size": 99}, vision_config=vision, projection_dim=16)
    torch.manual_seed(0)
    model = CLIPModel(config).eval()
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    folder = tmp_path / "clip-vit-base-patch32"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    networks = load_networks(["clip-i"], tmp_path, CPU, required=True)
    scores = score_clips(pred, truth, protocol="EgoX", measures=networks.measures)
    seen = [
        processor(images=(part.numpy() * 255).round().astype("uint8"), return_tensors="pt") for part in (pred, truth)
    ]
    with torch.no_grad():
        one, true = (model.get_image_features(**inputs) for inputs in seen)
    expected = (one * true).sum(dim=1) / (one.norm(dim=1) * true.norm(dim=1))
    assert torch.allclose(scores.frames["clip_i"][0], expected.double(), atol=1e-5)


class Probe(torch.nn.Module):
    """Gives what FVD's network is fed: its extremes and its size."""

    def forward(self, video: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        assert not rescale and not resize and return_features  # noqa: PT018
        size = torch.tensor([video.shape[1], video.shape[2], video.shape[3], video.shape[4]], dtype=video.dtype)
        return torch.cat([size, video.amin().view(1), video.amax().view(1)])[None]


def test_i3d_sees_the_first_sixteen_frames_in_its_range(tmp_path, clip):
    torch.jit.script(Probe()).save(str(tmp_path / I3D_FILE))
    i3d = load_networks(["fvd"], tmp_path, CPU, required=True).i3d
    video = torch.zeros(17, 32, 32, 3)
    video[0], video[16] = 0.75, 1.0
    assert i3d(video).tolist() == pytest.approx([3, 16, 224, 224, -1, 0.5])


def test_the_frechet_distance_of_known_gaussians():
    generator = torch.Generator().manual_seed(1)
    wide = 3 * torch.randn(200_000, 2, generator=generator, dtype=torch.float64)
    narrow = torch.randn(200_000, 2, generator=generator, dtype=torch.float64) + torch.tensor([4.0, 0.0])
    assert frechet_distance(wide, narrow) == pytest.approx(4**2 + 2 * (3 - 1) ** 2, rel=0.01)
    turn = torch.linalg.qr(torch.randn(2, 2, generator=generator, dtype=torch.float64)).Q
    assert frechet_distance(wide @ turn, narrow @ turn) == pytest.approx(frechet_distance(wide, narrow))


def test_the_frechet_distance_of_fewer_samples_than_numbers():
    """Covariances without full rank, as FVD has them: 400 numbers of some clips."""
    few = torch.randn(5, 400, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-3)
    assert frechet_distance(few, few + 1) == pytest.approx(400, rel=1e-6)
    assert str(frechet_distance(few[:1], few)) == "nan"


def test_lpips_puts_the_trunk_where_the_package_has_it(tmp_path, clip):
    lpips = pytest.importorskip("lpips", reason="lpips is of the extra `evaluate` alone")
    from torchvision.models import alexnet

    torch.manual_seed(0)
    trunk = alexnet(weights=None)
    torch.save(trunk.state_dict(), tmp_path / "alexnet-owt-7be5be79.pth")
    witness = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    for number in range(1, 6):
        for place, layer in getattr(witness.net, f"slice{number}").named_children():
            layer.load_state_dict(trunk.features[int(place)].state_dict())
    pred, truth = (part[:2] for part in clip)
    networks = load_networks(["lpips"], tmp_path, CPU, required=True)
    scores = score_clips(pred, truth, protocol="EgoX", measures=networks.measures)
    with torch.no_grad():
        expected = witness(pred.movedim(-1, 1), truth.movedim(-1, 1), normalize=True).flatten()
    assert torch.allclose(scores.frames["lpips"][0], expected.double(), atol=1e-6)


def test_shift_tolerant_lpips_forgives_a_pixel(tmp_path):
    pytest.importorskip("stlpips_pytorch.stlpips", reason="stlpips-pytorch is of the extra `evaluate` alone")
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9), (66, 66), mode="bicubic").clamp(0, 1)
    truth, shifted = (smooth[:, :, :64, start : start + 64].movedim(1, -1) for start in (0, 1))
    measure = load_networks(["st-lpips"], tmp_path, CPU, required=True).measures[0]
    assert float(measure(truth, truth)["st_lpips"]) == 0
    noisy = (truth + 0.05 * torch.randn(truth.shape)).clamp(0, 1)
    assert measure(shifted, truth)["st_lpips"] < measure(noisy, truth)["st_lpips"]


def test_the_names_are_the_commands():
    text = (Path(__file__).parents[2] / "commands" / "evaluate" / "cli.py").read_text()
    assert ",".join(NETWORKS) in text
