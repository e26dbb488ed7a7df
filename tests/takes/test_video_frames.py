"""Chosen frames are the right ones, wherever they lie, and nothing else is kept."""

import pytest
import torch

from exo2ego.takes.video import read_video, write_video
from exo2ego.takes.video_frames import VideoInfo, probe_video, read_frames

N_FRAMES = 600  # beyond x264's 250 frames from one key frame to the next


def shade(frame):
    return 0.1 + 0.8 * (frame % 40) / 40


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    shades = torch.tensor([shade(frame) for frame in range(N_FRAMES)])
    write_video(path, shades[:, None, None, None].expand(N_FRAMES, 16, 32, 3), fps=30, crf=4)
    return path


def numbers(frames):
    return ((frames.mean(dim=(1, 2, 3)) - 0.1) / 0.8 * 40).round().int().tolist()


@pytest.mark.parametrize(
    "indices", [[0], [0, 1, 2], range(0, 33, 4), [247, 251, 255], range(500, 533, 4), [3, 299, 599], [599]]
)
def test_the_chosen_frames(video, indices):
    frames = read_frames(video, indices)
    assert frames.shape == (len(indices), 16, 32, 3)
    assert frames.dtype == torch.float32
    assert numbers(frames) == [index % 40 for index in indices]


def test_a_rate_that_is_no_whole_number(tmp_path):
    clip = torch.tensor([shade(frame) for frame in range(120)])[:, None, None, None].expand(120, 16, 16, 3)
    write_video(tmp_path / "clip.mp4", clip, fps=29.97, crf=4)
    assert numbers(read_frames(tmp_path / "clip.mp4", [1, 50, 119])) == [1, 10, 39]


def test_pictures_are_squeezed_with_antialiasing(tmp_path):
    """Every fourth column is bright: the picture becomes a quarter bright. Mixing but the nearest pixels gives half."""
    columns = torch.arange(512) % 4 == 0
    picture = columns.float()[None, None, :, None].expand(3, 64, 512, 3)
    write_video(tmp_path / "fine.mp4", picture, fps=30, crf=4)
    frames = read_frames(tmp_path / "fine.mp4", [1], size=(32, 48))
    assert frames.shape == (1, 48, 32, 3)
    assert (frames[:, :, 2:-2] - 0.25).abs().max() < 0.05
    full, _ = read_video(tmp_path / "fine.mp4")
    assert full.std() > 0.35


def test_progress(video):
    calls = []
    read_frames(video, [10, 20, 300], progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("indices", [[], [3, 3], [4, 2], [-1, 5]])
def test_numbers_that_are_no_choice(video, indices):
    with pytest.raises(ValueError, match="rising frame numbers"):
        read_frames(video, indices)


def test_frames_that_are_not_there(video):
    with pytest.raises(ValueError, match="has no frame 600"):
        read_frames(video, [598, 600, 602])


def test_the_header(video, tmp_path):
    assert probe_video(video) == VideoInfo(N_FRAMES, 30.0, 32, 16)
    with pytest.raises(ValueError, match="no video at"):
        probe_video(tmp_path / "absent.mp4")


def test_a_torn_file(video, tmp_path):
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(video.read_bytes()[:3000])
    for read in (probe_video, lambda path: read_frames(path, [0])):
        with pytest.raises(ValueError, match=r"torn\.mp4 is no readable video"):
            read(torn)
