"""Videos survive the trip through a file; a bad file says what is wrong with it."""

import pytest
import torch

from exo2ego.takes.video import read_video, write_video


def _clip(n_frames=6, height=48, width=64):
    """A smooth colour ramp that moves: H.264 keeps it to a grey level or two."""
    rows = torch.linspace(0, 1, height)[None, :, None].expand(n_frames, height, width)
    columns = torch.linspace(0, 1, width)[None, None, :].expand_as(rows)
    time = torch.linspace(0, 1, n_frames)[:, None, None].expand_as(rows)
    return torch.stack([rows, columns, time], dim=-1)


def test_round_trip(tmp_path):
    clip = _clip()
    write_video(tmp_path / "folder" / "clip.mp4", clip, fps=20)
    frames, fps = read_video(tmp_path / "folder" / "clip.mp4")
    assert frames.shape == clip.shape
    assert frames.dtype == torch.float32
    assert fps == 20
    assert (frames - clip).abs().mean() < 0.01
    assert frames.min() >= 0
    assert frames.max() <= 1


def test_fractional_rate(tmp_path):
    write_video(tmp_path / "clip.mp4", _clip(), fps=29.97)
    assert read_video(tmp_path / "clip.mp4")[1] == pytest.approx(29.97, abs=1e-3)


def test_odd_sizes_gain_a_repeated_line(tmp_path):
    clip = _clip(height=47, width=63)
    write_video(tmp_path / "clip.mp4", clip, fps=20)
    frames, _ = read_video(tmp_path / "clip.mp4")
    assert frames.shape == (6, 48, 64, 3)
    assert (frames[:, :47, :63] - clip).abs().mean() < 0.01


def test_max_frames(tmp_path):
    write_video(tmp_path / "clip.mp4", _clip(n_frames=9), fps=20)
    assert len(read_video(tmp_path / "clip.mp4", max_frames=5)[0]) == 5
    assert len(read_video(tmp_path / "clip.mp4", max_frames=50)[0]) == 9


def test_real_clip(shared_take):
    frames, fps = read_video(shared_take("joker") / "exo.mp4")
    assert frames.shape == (49, 448, 784, 3)
    assert fps == 30


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"no video at .*absent\.mp4"):
        read_video(tmp_path / "absent.mp4")


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_torn_file(tmp_path, keep):
    path = tmp_path / "clip.mp4"
    write_video(path, _clip(), fps=20)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(ValueError, match="re-encode"):
        read_video(path)


def test_text_file(tmp_path):
    (tmp_path / "clip.mp4").write_text("no video at all")
    with pytest.raises(ValueError, match="no readable video"):
        read_video(tmp_path / "clip.mp4")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, _clip(), fps=20)
    before = path.read_bytes()

    class Broken(torch.Tensor):
        def __iter__(self):
            yield self[0].as_subclass(torch.Tensor)
            raise RuntimeError("out of frames")

    with pytest.raises(RuntimeError, match="out of frames"):
        write_video(path, _clip().as_subclass(Broken), fps=20)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(("shape", "fps"), [((4, 8, 8), 20), ((4, 8, 8, 4), 20), ((0, 8, 8, 3), 20), ((4, 8, 8, 3), 0)])
def test_wrong_arguments(tmp_path, shape, fps):
    with pytest.raises(ValueError, match="Expected"):
        write_video(tmp_path / "clip.mp4", torch.zeros(shape), fps=fps)
    assert not list(tmp_path.iterdir())
