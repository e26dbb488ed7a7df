"""Detector, joints and masks with tiny random weights that transformers saved, held against transformers' own ways."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from exo2ego.common.cancel import cancellable
from exo2ego.networks import pretrained
from exo2ego.networks.people.detector import detect_people
from exo2ego.networks.people.joints import find_joints
from exo2ego.networks.people.masks import follow_mask
from exo2ego.networks.pretrained_files import DETECTOR, MASKS, POSE, folders_of, missing_files
from support.tiny_people import save_tiny_detector, save_tiny_masks, save_tiny_pose

F, H, W = 3, 60, 100


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    return {
        DETECTOR: save_tiny_detector(root / "detector"),
        POSE: save_tiny_pose(root / "pose"),
        MASKS: save_tiny_masks(root / "masks"),
    }


def images(n_frames: int = F) -> torch.Tensor:
    return torch.rand(n_frames, H, W, 3, generator=torch.Generator().manual_seed(1))


def boxes(n_people: int = 2) -> torch.Tensor:
    found = torch.tensor([10.0, 5, 50, 55], dtype=torch.float64).expand(n_people, F, 4).clone()
    found[1, 1] = torch.nan
    return found


def run(source, folder, clip=None, **options):
    clip = images() if clip is None else clip
    if source is DETECTOR:
        return detect_people(clip, folder, **options)
    if source is POSE:
        return find_joints(clip, boxes(), folder, **options)
    return follow_mask(clip, 1, boxes()[0, 0], folder, **options)


def test_the_saved_folders_have_the_files_that_are_asked_for(folders):
    for source, folder in folders.items():
        assert missing_files(folder, source) == []
        assert folders_of(source, [folder.parent]) == [folder.name]


def test_people_equal_transformers_own_post_processing(folders):
    from transformers import RTDetrForObjectDetection, RTDetrImageProcessor

    clip = images(6)  # more than a batch
    found = detect_people(clip, folders[DETECTOR], least=0.3)
    processor = RTDetrImageProcessor.from_pretrained(folders[DETECTOR])
    model = RTDetrForObjectDetection.from_pretrained(folders[DETECTOR]).eval()
    assert len(found) == 6
    for frame, (some, scores) in zip(clip, found):
        with torch.inference_mode():
            pixels = processor((frame * 255).round().byte().movedim(-1, 0), return_tensors="pt")
            (expected,) = processor.post_process_object_detection(model(**pixels), 0.3, [(H, W)])
        person = expected["labels"] == 0
        assert len(scores) == int(person.sum()) > 0
        assert torch.allclose(scores.float(), expected["scores"][person], atol=1e-5)
        within = expected["boxes"][person].clamp_min(0).minimum(torch.tensor([W, H, W, H]))
        assert torch.allclose(some.float(), within, atol=1e-2)


def test_only_people_count(folders, tmp_path):
    folder = save_tiny_detector(tmp_path, labels=("dog", "Person"))
    found = detect_people(images(1), folder, least=0.5)
    assert len(found[0][1]) == 0  # the tiny one is sure of its first class
    assert len(detect_people(images(1), folders[DETECTOR], least=0.5)[0][1]) > 0
    with pytest.raises(ValueError, match=r"knows no class 'person'.*COCO"):
        detect_people(images(1), save_tiny_detector(tmp_path / "animals", labels=("cat", "dog")))


@pytest.mark.parametrize(("n_joints", "experts"), [(17, 1), (133, 6)])
def test_joints_equal_transformers_own_post_processing(tmp_path, n_joints, experts):
    from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor

    folder = save_tiny_pose(tmp_path, n_joints, experts)
    found = find_joints(images(), boxes(), folder)
    assert found.shape == (2, F, n_joints, 3)
    processor = VitPoseImageProcessor.from_pretrained(folder)
    model = VitPoseForPoseEstimation.from_pretrained(folder).eval()
    picture = (images()[2] * 255).round().byte().numpy()
    # Both people, as in the clip: a joint whose heat map is nearly flat shows how a batch of another size rounds.
    cut = [[[10.0, 5, 40, 50]] * 2]
    with torch.inference_mode():
        pixels = processor([picture], boxes=cut, return_tensors="pt")
        extra = {"dataset_index": torch.tensor([5, 5])} if experts > 1 else {}
        ((expected, _),) = processor.post_process_pose_estimation(model(**pixels, **extra), boxes=cut)
    assert torch.allclose(found[0, 2, :, :2].float(), expected["keypoints"], atol=1e-3)
    assert torch.allclose(found[0, 2, :, 2].float(), expected["scores"].clamp(0, 1), atol=1e-4)
    assert float(found[0, 2, :, 0].std()) > 1, "all joints in one place would prove nothing"
    assert torch.equal(found[0], found[1].where(found[1] != 0, found[0]))
    assert bool((found[1, 1] == 0).all()), "nobody is there"


def test_other_joints_are_told(tmp_path):
    with pytest.raises(ValueError, match="find 21 joints; this node reads 17 of COCO's body or 133"):
        find_joints(images(), boxes(), save_tiny_pose(tmp_path, 21))


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_masks_equal_transformers_own_way(folders, frame):
    from transformers import Sam2VideoModel, Sam2VideoProcessor

    found = follow_mask(images(), frame, boxes()[0, 0], folders[MASKS])
    assert found.shape == (F, H, W)
    assert set(found.unique().tolist()) <= {0.0, 1.0}
    assert 0 < found.mean() < 1, "an empty or full mask would prove nothing"
    processor = Sam2VideoProcessor.from_pretrained(folders[MASKS])
    model = Sam2VideoModel.from_pretrained(folders[MASKS]).eval()
    clip = [(image * 255).round().byte().numpy() for image in images()]
    with torch.inference_mode():
        session = processor.init_video_session(video=clip, inference_device="cpu")
        processor.add_inputs_to_inference_session(session, frame, 1, input_boxes=[[[10.0, 5, 50, 55]]])
        outputs = model(session, frame_idx=frame)
        (expected,) = processor.post_process_masks([outputs.pred_masks], [[H, W]], binarize=True)
    assert torch.equal(found[frame].bool(), expected.reshape(H, W))


@pytest.mark.parametrize("source", [DETECTOR, POSE, MASKS], ids=lambda source: source.name)
def test_every_frame_is_counted_and_can_be_the_last(folders, source):
    seen = []
    run(source, folders[source], step=lambda: seen.append(1))
    assert len(seen) >= F

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(source, folders[source], step=stop)
    with cancellable(stop), pytest.raises(InterruptedError):
        run(source, folders[source])


def test_half_precision(folders):
    exact, rough = (run(POSE, folders[POSE], dtype=dtype) for dtype in (torch.float32, torch.float16))
    assert torch.allclose(exact[..., -1], rough[..., -1], atol=0.02)
    assert rough.dtype == torch.float64


@pytest.mark.parametrize("source", [DETECTOR, POSE, MASKS], ids=lambda source: source.name)
def test_missing_foreign_and_torn_files_are_named(folders, source, tmp_path):
    good = folders[source]
    with pytest.raises(ValueError, match=r"lacks config\.json.*nothing is downloaded"):
        run(source, tmp_path / "nowhere")
    for name in source.files:
        shutil.rmtree(tmp_path / "some", ignore_errors=True)
        shutil.copytree(good, tmp_path / "some")
        (tmp_path / "some" / name).unlink()
        with pytest.raises(ValueError, match=f"some lacks {name}. Put the files of {source.repository}"):
            run(source, tmp_path / "some")
    other = folders[POSE if source is DETECTOR else DETECTOR]
    shutil.copytree(other, tmp_path / "other")
    for name in source.files:
        (tmp_path / "other" / name).touch()
    with pytest.raises(ValueError, match=f"holds another network than {source.name}"):
        run(source, tmp_path / "other")
    shutil.copytree(good, tmp_path / "torn")
    content = (good / "model.safetensors").read_bytes()
    (tmp_path / "torn" / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{source.name}'s weights in .*torn cannot be read.*Download them again"):
        run(source, tmp_path / "torn")


def test_weights_that_lack_some_are_told(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folders[POSE], tmp_path / "lacks")
    weights = tmp_path / "lacks" / "model.safetensors"
    kept = {name: value for name, value in load_file(weights).items() if not name.startswith("head.")}
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"are not those of ViTPose: 2 are missing.*first: head\."):
        run(POSE, tmp_path / "lacks")


def test_shards_are_looked_for_by_their_index(folders, tmp_path):
    shutil.copytree(folders[POSE], tmp_path / "shards")
    (tmp_path / "shards" / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "../evil.safetensors"}}
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "shards" / "model-1.safetensors").touch()
    assert missing_files(tmp_path / "shards", POSE) == ["model-2.safetensors"]


def test_a_transformers_without_the_network_says_what_to_install(folders, monkeypatch):
    """As ComfyUI 0.3.60 asks for 4.37.2: a module that lacks the classes stands in for it."""
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(__version__="4.37.2"))
    for source in (DETECTOR, POSE, MASKS):
        with pytest.raises(ValueError, match=rf'has no \w+\. Update it.*pip install "transformers>={source.since}"'):
            run(source, folders[source])


def test_nothing_that_is_not_finite_gets_through(folders):
    clip = images()
    clip[0, 0, 0, 0] = float("nan")  # as bytes it is a number, so that the network sees none
    assert all(bool(scores.isfinite().all()) for _, scores in detect_people(clip.nan_to_num(), folders[DETECTOR]))


def test_bytes_of_pictures():
    clip = torch.tensor([[[[0.0, 0.5, 1.0, 0.3], [2.0, -1.0, 0.1, 0.0]]]])
    found = pretrained.as_bytes(clip)
    assert found.shape == (1, 3, 1, 2)
    assert found[0, :, 0, 0].tolist() == [0, 128, 255]
    assert found[0, :, 0, 1].tolist() == [255, 0, 26]
    assert clip[0, 0, 1, 0] == 2, "the clip itself was changed"


def test_importing_the_modules_does_not_import_transformers():
    script = (
        "import sys; sys.path.insert(0, 'tools'); import pack; pack.register(); "
        "import exo2ego.networks.people.masks, exo2ego.networks.people.joints; assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=sys.modules["pack"].ROOT, check=True)
