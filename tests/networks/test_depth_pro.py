from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from exo2ego.networks.depth_pro import estimate_depth
from exo2ego.networks.pretrained_files import DEPTH_PRO
from support.tiny_depth_pro import save_tiny_depth_pro

F, H, W = 3, 40, 56


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_depth_pro(tmp_path_factory.mktemp("depth_pro"))


def images() -> torch.Tensor:
    return torch.rand(F, H, W, 3, generator=torch.Generator().manual_seed(1))


def test_the_saved_folder_has_the_files_that_are_asked_for(folder):
    assert {path.name for path in folder.iterdir()} >= set(DEPTH_PRO.files)


def test_one_frame_equals_transformers_own_post_processing(folder):
    from transformers import DepthProForDepthEstimation, DepthProImageProcessorFast

    image = images()[:1]
    estimate = estimate_depth(image, folder)
    processor = DepthProImageProcessorFast.from_pretrained(folder)
    model = DepthProForDepthEstimation.from_pretrained(folder).eval()
    with torch.inference_mode():
        pixels = processor((image[0] * 255).movedim(-1, 0), return_tensors="pt")
        outputs = model(**pixels)
        expected = processor.post_process_depth_estimation(outputs, target_sizes=[(H, W)])[0]
    assert estimate.depth.shape == (1, H, W)
    assert torch.allclose(estimate.depth[0], expected["predicted_depth"], rtol=1e-4)
    assert estimate.fov_degrees == pytest.approx(float(expected["field_of_view"]), rel=1e-4)
    assert estimate.focal == pytest.approx(float(expected["focal_length"]), rel=1e-4)
    assert estimate.depth.std() > 1e-3 * estimate.depth.mean(), "a constant map would prove nothing"


def test_one_lens_serves_all_frames(folder):
    seen = []
    estimate = estimate_depth(images(), folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, F), (2, F), (3, F)]
    assert estimate.depth.shape == (F, H, W)
    assert estimate.depth.dtype == torch.float32
    fovs = estimate.frame_fov_degrees
    assert len(set(fovs.tolist())) == F
    assert estimate.fov_degrees == float(fovs.median())
    assert estimate.focal == pytest.approx(0.5 * W / math.tan(math.radians(estimate.fov_degrees) / 2))
    for frame in range(F):
        alone = estimate_depth(images()[frame : frame + 1], folder)
        # The depth of one and the same prediction is proportional to the focal length.
        assert torch.allclose(estimate.depth[frame] / estimate.focal, alone.depth[0] / alone.focal, rtol=1e-4)


def test_a_given_field_of_view_sets_the_metres(folder):
    wide, narrow = (estimate_depth(images()[:1], folder, fov_degrees=fov) for fov in (90.0, 45.0))
    assert wide.focal == pytest.approx(W / 2)
    assert torch.allclose(narrow.depth / wide.depth, torch.tensor(1 / math.tan(math.radians(22.5))), rtol=1e-4)


def test_weights_without_a_field_of_view_need_one(tmp_path):
    folder = save_tiny_depth_pro(tmp_path, use_fov_model=False)
    with pytest.raises(ValueError, match="no field-of-view head"):
        estimate_depth(images()[:1], folder)
    assert estimate_depth(images()[:1], folder, fov_degrees=60.0).depth.min() > 0


def test_half_precision_weights(folder):
    exact = estimate_depth(images()[:1], folder)
    rough = estimate_depth(images()[:1], folder, dtype=torch.bfloat16)
    assert rough.depth.dtype == torch.float32
    assert (rough.depth / exact.depth - 1).abs().median() < 0.1


@pytest.mark.parametrize("name", DEPTH_PRO.files)
def test_missing_files_are_named(folder, tmp_path, name):
    for file in DEPTH_PRO.files:
        if file != name:
            (tmp_path / file).write_bytes((folder / file).read_bytes())
    with pytest.raises(ValueError, match=f"{tmp_path.name} lacks {name}.*nothing is downloaded"):
        estimate_depth(images(), tmp_path)
    with pytest.raises(ValueError, match=r"config\.json, preprocessor_config\.json, model\.safetensors"):
        estimate_depth(images(), tmp_path / "nowhere")


def test_torn_and_foreign_weights(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in DEPTH_PRO.files:
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    weights = tmp_path / DEPTH_PRO.files[2]
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cannot be read.*Download them again"):
        estimate_depth(images(), tmp_path)
    whole = load_file(folder / DEPTH_PRO.files[2])
    kept = {name: value for name, value in whole.items() if not name.startswith("head.")}
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"not those of DepthPro.*first: head\."):
        estimate_depth(images(), tmp_path)


@pytest.mark.parametrize(
    ("clip", "options", "message"),
    [
        (torch.rand(H, W, 3), {}, "Expected images"),
        (torch.rand(0, H, W, 3), {}, "Expected images"),
        (torch.rand(1, H, W, 3), {"fov_degrees": 180.0}, "between 0 and 180"),
    ],
)
def test_bad_input_says_what_is_wrong(folder, clip, options, message):
    with pytest.raises(ValueError, match=message):
        estimate_depth(clip, folder, **options)


def test_depth_that_is_not_finite(folder):
    """Pixels far beyond 1 overflow in the network, whatever its type."""
    clip = images()
    clip[0, 0, 0, 0] = 1e30
    with pytest.raises(ValueError, match=r"depth of frame 0 holds NaN or infinity\. Check that the images"):
        estimate_depth(clip, folder)


def test_cancelling_goes_through(folder):
    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        estimate_depth(images(), folder, progress=cancel)


def test_importing_the_module_does_not_import_transformers():
    script = (
        "import sys; sys.path.insert(0, 'tools'); import pack; pack.register(); "
        "import exo2ego.networks.depth_pro; assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=sys.modules["pack"].ROOT, check=True)
