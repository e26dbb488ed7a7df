"""Forty odd clips: each gives the right frames, the right way up, or a sentence that says why not."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from exo2ego.takes.clips.color import toned_down
from exo2ego.takes.clips.framing import Wanted
from exo2ego.takes.clips.names import CLIPS
from exo2ego.takes.clips.timing import Part
from support.odd_clips import (
    MIRROR,
    TURNS,
    corners_of,
    edit,
    number_of,
    picture,
    turn,
    write_animation,
    write_clip,
    write_pictures,
)

ROOT = Path(__file__).resolve().parents[3]
UPRIGHT = ["red", "green", "white", "blue"]
OWN = Wanted()


def load(root: Path, name: str, part: Part | None = None, wanted: Wanted = OWN):
    return CLIPS.load(root, name, part=part or Part(0, 9), wanted=wanted, progress=None)


def numbers(clip, quarter_turns_back: int = 0) -> list[int]:
    return [number_of(np.rot90(image, quarter_turns_back)) for image in clip.images.numpy()]


# Clips whose frames come at their own rate, upright: how they are made, and the frames they have.
PLAIN = {
    "h264 with B-frames.mp4": {},
    "open groups.mp4": {"x264-params": "open-gop=1:keyint=5:bframes=3"},
    "full range.mp4": {"pixels": "yuvj420p"},
    "ten bit.mp4": {"codec": "libx265", "pixels": "yuv420p10le", "x265-params": "log-level=none"},
    "4-4-4.mp4": {"pixels": "yuv444p"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx"},
    "av1.mkv": {"codec": "libsvtav1", "preset": "12"},
    "mpeg4.avi": {"codec": "mpeg4", "qscale": "2"},
    "motion jpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "h264 in.avi": {},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "stream.ts": {},
    "camcorder.mts": {"codec": "mpeg2video"},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "lossless.mkv": {"codec": "ffv1"},
    "wmv.wmv": {"codec": "wmv2"},
    "flash.flv": {"codec": "flv"},
    "uncut.h264": {"bf": "0"},
    "rgb.mkv": {"codec": "libx264rgb", "pixels": "rgb24"},
    "odd size.mkv": {"codec": "ffv1", "pixels": "yuv444p", "size": (143, 97)},
    "quicktime alpha.mov": {"codec": "qtrle", "pixels": "argb"},
    "mit Leerzeichen und Umlauten äöüß.mp4": {},
    "emoji 🎬 日本.mp4": {},
    "sub/folder/clip.mp4": {},
    "hash #1.mp4": {},
    "percent %d.mp4": {},
    "star*?.mp4": {},
    "UPPER.MP4": {},
    "no suffix known.dat": {"container_format": "mp4"},
}


@pytest.mark.parametrize("name", PLAIN)
def test_frames_come_one_by_one(tmp_path, name):
    options = dict(PLAIN[name])
    if options.pop("container_format", None):
        write_clip(tmp_path / "a.mp4").rename(tmp_path / name)
    else:
        write_clip(tmp_path / name, **options)
    clip = load(tmp_path, name)
    assert numbers(clip) == list(range(9))
    assert corners_of(clip.images[0]) == UPRIGHT
    assert clip.fps == pytest.approx(30 if not name.endswith(".h264") else clip.fps)
    # Later ones, to which the file jumps.
    assert numbers(load(tmp_path, name, Part(10 / clip.fps, 5))) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("degrees", TURNS)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_phone_held_another_way(tmp_path, degrees, mirrored, suffix):
    """A player shows the stored picture, mirrored if need be, turned clockwise."""
    a, b, c, d = TURNS[degrees]
    matrix = (-a, -b, c, d) if mirrored else (a, b, c, d)
    turn(write_clip(tmp_path / f"phone{suffix}"), matrix)
    clip = load(tmp_path, f"phone{suffix}")
    stored = picture(0)[:, ::-1] if mirrored else picture(0)
    wanted = np.rot90(stored, -degrees // 90)  # NumPy turns the other way
    assert clip.images.shape[1:3] == wanted.shape[:2]
    assert corners_of(clip.images[0]) == corners_of(wanted / 255)
    if not mirrored:
        assert numbers(clip, degrees // 90) == list(range(9))


def test_only_a_mirror(tmp_path):
    turn(write_clip(tmp_path / "selfie.mp4"), MIRROR)
    assert corners_of(load(tmp_path, "selfie.mp4").images[0]) == ["green", "red", "blue", "white"]


def test_a_turn_by_no_quarter_is_said(tmp_path):
    turn(write_clip(tmp_path / "tilted.mp4"), (0.7071, 0.7071, -0.7071, 0.7071))
    clip = load(tmp_path, "tilted.mp4")
    assert "turned by no quarter turn" in clip.report
    assert corners_of(clip.images[0]) == UPRIGHT


# Time ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [
        (60, 30),
        (Fraction(60000, 1001), 30),
        (Fraction(24000, 1001), 16),
        (Fraction(30000, 1001), 24),
        (24, 30),
        (120, 16),
        (25, 25),
    ],
)
@pytest.mark.parametrize("start", [0.0, 0.37])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rates_are_resampled_by_time(tmp_path, rate, wanted, start, suffix):
    write_clip(tmp_path / f"clip{suffix}", 80, rate=rate)
    clip = load(tmp_path, f"clip{suffix}", Part(start, 13, wanted))
    seen = [number / float(rate) for number in numbers(clip)]
    for index, time in enumerate(seen):
        assert abs(time - (start + index / wanted)) <= 0.5 / float(rate) + 1.1e-3  # MKV rounds to milliseconds
    assert clip.fps == wanted


def test_a_variable_rate_comes_out_even(tmp_path):
    steps = np.random.default_rng(3).choice([0.008, 0.017, 0.033, 0.1], 60)
    times = np.cumsum(steps) - steps[0]
    write_clip(tmp_path / "phone.mp4", 60, times=list(times), bf="0")
    clip = load(tmp_path, "phone.mp4", Part(0.2, 25, 20))
    shown = numbers(clip)
    for index, number in enumerate(shown):
        moment = 0.2 + index / 20
        assert abs(times[number] - moment) <= np.abs(times - moment).min() + 1e-3
    assert clip.cut.frames == tuple(shown)


def test_an_edit_list_decides_what_is_the_first_frame(tmp_path):
    edit(write_clip(tmp_path / "cut.mp4", 40, bf="0"), first=7, kept=20)
    clip = load(tmp_path, "cut.mp4", Part(0, 17))
    assert numbers(clip) == list(range(7, 24))
    assert clip.cut.n_source == 20
    assert numbers(load(tmp_path, "cut.mp4", Part(0.5, 5))) == list(range(22, 27))
    assert "only 20 frames" in load(tmp_path, "cut.mp4", Part(0, 49)).report


def test_a_video_that_begins_late(tmp_path):
    write_clip(tmp_path / "late.mp4", times=[2 + index / 30 for index in range(20)])
    assert numbers(load(tmp_path, "late.mp4")) == list(range(9))


@pytest.mark.parametrize(
    ("n_frames", "asked", "given", "said"),
    [
        (1, 49, 1, "only 1 frames"),
        (3, 49, 1, "only 3 frames"),
        (300, 49, 49, None),
        (300, 300, 297, "Cut to 297, as Wan samples 4n"),
        (20, 10, 9, "Cut to 9"),
    ],
)
def test_long_and_short_clips(tmp_path, n_frames, asked, given, said):
    write_clip(tmp_path / "clip.mp4", n_frames)
    clip = load(tmp_path, "clip.mp4", Part(0, asked))
    assert numbers(clip) == list(range(given))
    assert said is None or said in clip.report
    assert bool(clip.remarks) == (said is not None)


def test_a_start_behind_the_end(tmp_path):
    write_clip(tmp_path / "clip.mp4", 30)
    with pytest.raises(
        ValueError, match=r"clip\.mp4: The clip has 1\.00 s .* from 2 s on\. Choose a start below 1\.00"
    ):
        load(tmp_path, "clip.mp4", Part(2, 9))


# Color --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("transfer", "word"), [(18, "HLG"), (16, "PQ")])
def test_hdr_is_toned_down_and_said(tmp_path, transfer, word):
    write_clip(
        tmp_path / "phone.mov",
        codec="libx265",
        pixels="yuv420p10le",
        transfer=transfer,
        **{"x265-params": f"log-level=none:colorprim=bt2020:colormatrix=bt2020nc:transfer={transfer}"},
    )
    clip = load(tmp_path, "phone.mov")
    assert f"10 bit, {word}" in clip.report
    assert f"{word} toned down" in clip.report
    assert corners_of(clip.images[0]) == UPRIGHT


def test_the_levels_of_hdr():
    """ITU-R BT.2408, table 1: white on paper is HLG 0.75 and PQ 0.58, grey of 18 percent 0.38 in both."""
    for curve, paper in (("HLG", 0.75), ("PQ", 0.58)):
        grey, white, peak = toned_down(torch.tensor([[0.38] * 3, [paper] * 3, [1.0] * 3]), curve)[:, 1].tolist()
        assert grey == pytest.approx(1.055 * (26 / 203) ** (1 / 2.4) - 0.055, abs=0.02)  # as sRGB codes it
        assert 0.94 < white < 0.98
        assert white < peak <= 1
    assert toned_down(torch.tensor([0.3, 0.2, 0.1]), "").tolist() == pytest.approx([0.3, 0.2, 0.1])


def test_interlaced_is_said(tmp_path):
    write_clip(tmp_path / "camcorder.mts", **{"x264-params": "tff=1"})
    clip = load(tmp_path, "camcorder.mts")
    assert numbers(clip) == list(range(9))
    assert "interlaced" in clip.report


def test_a_side_that_would_be_too_long(tmp_path):
    Image.fromarray(np.zeros((4000, 8, 3), np.uint8)).save(tmp_path / "strip.png")
    with pytest.raises(ValueError, match=r"8 x 4000 would have 8192 x 4096000 pixels.*Give width and height"):
        load(tmp_path, "strip.png", wanted=Wanted(8192, 0))


def test_full_and_limited_range_look_alike(tmp_path):
    clips = {}
    for name, pixels in (("limited", "yuv420p"), ("full", "yuvj420p")):
        write_clip(tmp_path / f"{name}.mp4", pixels=pixels, crf="4")
        clips[name] = load(tmp_path, f"{name}.mp4").images
    truth = picture(0) / 255
    for images in clips.values():
        middle = np.abs(images[0].numpy() - truth)
        assert np.median(middle) < 0.02
    assert float((clips["limited"] - clips["full"]).abs().mean()) < 0.02


def test_what_is_transparent_lies_over_black(tmp_path):
    pixels = np.concatenate([picture(0), np.full((96, 144, 1), 255, np.uint8)], axis=2)
    pixels[:, 72:, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "logo.png")
    clip = load(tmp_path, "logo.png")
    assert corners_of(clip.images[0])[0] == "red"
    assert float(clip.images[0, :, 72:].max()) == 0
    assert "Transparent parts lie over black" in clip.report


# Size ---------------------------------------------------------------------------------------------------------------


def test_anamorphic_pixels_become_square(tmp_path):
    write_clip(tmp_path / "dv.mkv", size=(144, 96), aspect=Fraction(4, 3))
    clip = load(tmp_path, "dv.mkv")
    assert clip.images.shape[1:3] == (96, 192)
    assert numbers(clip) == list(range(9))
    assert "times as wide as high" in clip.report


def test_frames_that_differ_in_size(tmp_path):
    write_clip(tmp_path / "a.h264", bf="0")
    write_clip(tmp_path / "b.h264", bf="0", size=(96, 144))
    both = (tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes()
    (tmp_path / "joined.h264").write_bytes(both)
    assert numbers(load(tmp_path, "joined.h264", Part(0, 9))) == list(range(9))
    with pytest.raises(ValueError, match=r"joined\.h264 differ in size: 144 x 96, then 96 x 144"):
        load(tmp_path, "joined.h264", Part(0, 33))


# Pictures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_pictures(tmp_path, suffix):
    write_animation(tmp_path / f"moving.{suffix}", 20, 50, **({"lossless": True} if suffix == "webp" else {}))
    clip = load(tmp_path, f"moving.{suffix}")
    assert numbers(clip) == list(range(9))
    assert clip.fps == pytest.approx(20)


def test_a_gif_whose_frames_last_differently(tmp_path):
    write_animation(tmp_path / "moving.gif", 6, [100, 300, 50, 50, 400, 100])
    # Frames begin at 0, 0.1, 0.4, 0.45, 0.5 and 0.9 s; the one that begins nearest counts.
    clip = load(tmp_path, "moving.gif", Part(0, 9, 10))
    assert numbers(clip) == [0, 1, 1, 2, 2, 4, 4, 4, 5]
    assert "4 frames stand twice or more" in clip.report
    assert "A frame_rate of 0 keeps its own" in clip.report


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_a_still(tmp_path, suffix):
    Image.fromarray(picture(5)).save(tmp_path / f"still.{suffix}")
    clip = load(tmp_path, f"still.{suffix}")
    assert numbers(clip) == [5]
    assert "a still" in clip.report


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_held_another_way(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(0)).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's Transpose, of its own exif_transpose
    wanted = Image.fromarray(picture(0))
    wanted = wanted.transpose(methods[orientation]) if orientation > 1 else wanted
    clip = load(tmp_path, "photo.jpg")
    assert clip.images.shape[1:3] == (wanted.height, wanted.width)
    assert corners_of(clip.images[0]) == corners_of(np.asarray(wanted) / 255)


def test_sixteen_bits_of_grey(tmp_path):
    grey = (picture(3)[..., 0].astype(np.uint16)) * 257
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert numbers(load(tmp_path, "grey.png")) == [3]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("shot", "frame_{:04d}.png"),
        ("shot", "{}.jpg"),  # 10 comes after 9
        ("shot/frame_%04d.png", "frame_{:04d}.png"),
        ("shot/frame_####.png", "frame_{:04d}.png"),
        ("shot/frame_*.png", "frame_{:04d}.png"),
        ("ein Ordner/Bild ä *.png", "Bild ä {}.png"),
    ],
)
def test_one_file_a_frame(tmp_path, name, files):
    folder = tmp_path / name.split("/")[0]
    write_pictures(folder, 20, files)
    (folder / ".DS_Store").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("none either")
    clip = load(tmp_path, name, Part(0, 17))
    assert numbers(clip) == list(range(17))
    assert clip.fps == 30
    assert load(tmp_path, name, Part(0, 17, 12)).fps == 12


def test_numbers_that_are_missing_are_said(tmp_path):
    paths = write_pictures(tmp_path / "shot", 12)
    paths[4].unlink()
    clip = load(tmp_path, "shot")
    assert numbers(clip) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert "missing between the pictures (4)" in clip.report


def test_two_clips_in_one_folder(tmp_path):
    write_pictures(tmp_path / "shot", 5, "a_{}.png")
    Image.fromarray(picture(1, 64, 64)).save(tmp_path / "shot" / "b_1.png")
    with pytest.raises(ValueError, match=r"b_1\.png has 64 x 64 pixels, and a_0\.png 144 x 96.*pattern"):
        load(tmp_path, "shot")
    assert numbers(load(tmp_path, "shot/a_*.png")) == [0, 1, 2, 3, 4]


# What is no clip ----------------------------------------------------------------------------------------------------


def _torn(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])


def test_files_that_are_no_clips(tmp_path):
    (tmp_path / "text.mp4").write_text("This is no video. " * 50)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "no.png").write_bytes(b"no picture")
    (tmp_path / "photo.heic").write_bytes(b"tiles")
    (tmp_path / "light.exr").write_bytes(b"light")
    (tmp_path / "empty folder").mkdir()
    _torn(write_clip(tmp_path / "torn.mp4"), 0.5)
    Image.fromarray(picture(0)).save(tmp_path / "torn.png")
    _torn(tmp_path / "torn.png", 0.5)
    write_animation(tmp_path / "torn.gif", 20, 50)
    _torn(tmp_path / "torn.gif", 0.5)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "float.tif")
    for name, said in {
        "text.mp4": "not a readable video",
        "empty.mp4": "not a readable video",
        "torn.mp4": "not a readable video",
        "no.png": "not a picture that can be read",
        "torn.png": "not a picture that can be read, or it is truncated",
        "photo.heic": "stored in tiles",
        "light.exr": "holds light",
        "float.tif": "does not say which is white",
        "empty folder": "No picture lies in the folder",
        "shot_%04d.png": "No picture matches",
        "absent.mp4": "There is no 'absent.mp4'",
        "../outside.mp4": "points outside",
        "../*.png": "points outside",
    }.items():
        with pytest.raises(ValueError, match=said):
            load(tmp_path, name)


def test_a_file_that_ends_early(tmp_path):
    _torn(write_clip(tmp_path / "torn.mkv", 60, codec="ffv1"), 0.5)
    clip = load(tmp_path, "torn.mkv", Part(0, 49))
    assert numbers(clip) == list(range(len(clip.images)))
    assert "The clip has only" in clip.report


def test_a_cover_picture_is_no_clip(tmp_path):
    import av

    write_clip(tmp_path / "plain.mp4")
    Image.fromarray(picture(511, 64, 64)).save(tmp_path / "cover.jpg")
    with av.open(str(tmp_path / "song.mkv"), "w") as out, av.open(str(tmp_path / "plain.mp4")) as video:
        with av.open(str(tmp_path / "cover.jpg")) as cover:
            front = out.add_stream_from_template(cover.streams.video[0])
            front.disposition = 0x400  # attached picture
            back = out.add_stream_from_template(video.streams.video[0])
            for packet in cover.demux(video=0):
                if packet.size:
                    packet.stream = front
                    out.mux(packet)
        for packet in video.demux(video=0):
            if packet.size:
                packet.stream = back
                out.mux(packet)
    assert numbers(load(tmp_path, "song.mkv")) == list(range(9))


# Sound --------------------------------------------------------------------------------------------------------------


def _loudness(audio, seconds: float) -> tuple[float, float]:
    """How loud left and right are in the tenth of a second that begins there."""
    first = round(seconds * audio["sample_rate"])
    part = audio["waveform"][0, :, first : first + audio["sample_rate"] // 10]
    return tuple(part.pow(2).mean(dim=1).sqrt().tolist())


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "pcm_s16le"), ("a.webm", "libopus")])
def test_the_sound_of_the_same_part(tmp_path, name, codec):
    """The tone sounds from 0 to 1 s and from 2 to 3 s."""
    write_clip(tmp_path / name, 120, sound=codec, **({"codec": "libvpx"} if name == "a.webm" else {}))
    clip = load(tmp_path, name, Part(0.5, 49))
    assert clip.audio["waveform"].shape[2] == pytest.approx(49 / 30 * clip.audio["sample_rate"], abs=1)
    for seconds, is_loud in ((0.1, True), (0.35, True), (0.6, False), (1.3, False), (1.53, True)):
        left, right = _loudness(clip.audio, seconds)
        assert (left > 0.3) == is_loud, seconds
        if is_loud:
            assert right == pytest.approx(left / 2, rel=0.2)


def test_a_clip_without_sound(tmp_path):
    write_clip(tmp_path / "clip.mp4")
    assert load(tmp_path, "clip.mp4").audio is None


def test_sound_that_cannot_be_decoded_is_left_out(tmp_path):
    path = write_clip(tmp_path / "clip.mov", 40, sound="pcm_s16le")
    data = path.read_bytes()
    assert data.count(b"sowt") == 1
    path.write_bytes(data.replace(b"sowt", b"zzzz"))
    clip = load(tmp_path, "clip.mov")
    assert clip.audio is None
    assert "cannot be decoded" in clip.report
    assert numbers(clip) == list(range(9))


# Memory -------------------------------------------------------------------------------------------------------------


def test_only_what_is_handed_out_is_held(tmp_path):
    """300 frames of 1280 x 720 are 3.3 GB as ComfyUI holds them; 49 of 320 x 180 take 34 MB."""
    write_clip(tmp_path / "long.mp4", 300, size=(1280, 720), preset="ultrafast")
    script = f"""
import resource, sys
sys.path.insert(0, {str(ROOT / "tools")!r})
import pack; pack.register()
from pathlib import Path
from exo2ego.takes.clips.framing import Wanted
from exo2ego.takes.clips.names import CLIPS
from exo2ego.takes.clips.timing import Part
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
clip = CLIPS.load(Path({str(tmp_path)!r}), "long.mp4", part=Part(2, 49), wanted=Wanted(320, 180), progress=None)
print(len(clip.images), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    count, kilobytes = map(int, run.stdout.split())
    assert count == 49
    assert kilobytes < 400_000
