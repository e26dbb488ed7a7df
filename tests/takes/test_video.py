"""Videos survive the trip through a file; a bad file says what is wrong with it."""

from concurrent.futures import ThreadPoolExecutor

import av
import pytest
import torch

from exo2ego.takes.example.room import example_take
from exo2ego.takes.video import VideoInfo, open_video, probe_video, read_frames, read_video, write_video


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


def test_a_title_in_other_letters_than_utf_8(tmp_path):
    """As cameras and editors of before write them: nobody needs it to see the pictures."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "TITLE"
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for frame in _clip():
            picture = av.VideoFrame.from_ndarray((255 * frame).byte().numpy(), format="rgb24").reformat(32, 16)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"TITLE", b"T\xefTL\xe9"))
    assert len(read_video(path)[0]) == len(_clip())


def test_text_file(tmp_path):
    (tmp_path / "clip.mp4").write_text("no video at all")
    with pytest.raises(ValueError, match="not a readable video"):
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


# Chosen frames of a long video: the right ones, wherever they lie, and nothing else is kept --------------------------

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
        with pytest.raises(ValueError, match=r"torn\.mp4 is not a readable video"):
            read(torn)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    """However busy the machine is: several writers at once stand in each other's way."""
    frames = 0.5 * example_take(5, exo_width=96, exo_height=64, ego_size=64).ego_truth
    paths = [tmp_path / f"{number}.mp4" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: write_video(path, frames, fps=16, crf=12), paths))
    assert len({path.read_bytes() for path in paths}) == 1


def test_a_codec_that_nobody_knows(tmp_path):
    path = tmp_path / "odd.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "gray"
        file.mux(stream.encode(av.VideoFrame(32, 16, "gray")))
        file.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_XYZ1"))
    with pytest.raises(ValueError, match=r"odd.mkv is coded in a way that is not known"), open_video(path):
        pass
