"""The command on written videos: tables, JSON, page, VBench's folder, and its mistakes."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser

import pytest
import torch

from exo2ego.commands.main import main
from exo2ego.takes.video import read_video, write_video

EVIL = "<img src=x onerror=alert(1)>|\u202e"


def smooth(seed: int, frames: int = 2, side: int = 32) -> torch.Tensor:
    coarse = torch.rand(frames, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1).movedim(1, -1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three takes, of which one has no prior, and two batches: one near the truth, one far and without a clip."""
    root = tmp_path_factory.mktemp("evaluation")
    for number, name in enumerate(("a", "b", EVIL)):
        truth, noise = smooth(number), torch.randn(2, 32, 32, 3, generator=torch.Generator().manual_seed(number))
        take = root / "takes" / name
        write_video(take / "ego_GT.mp4", truth, 8, crf=0)
        write_video(take / "exo.mp4", smooth(number + 10, side=48), 8)
        if name != "b":
            prior = truth.clone()
            prior[:, :, 16:] = 0
            write_video(take / "ego_Prior.mp4", prior, 8, crf=0)
        write_video(root / "near" / "clips" / name / "ego.mp4", truth + 0.03 * noise, 8, crf=0)
        if name != "b":
            write_video(root / "far" / f"{name}.mp4", 1 - truth, 8, crf=0)
    (root / "groups.csv").write_text(f'name,group\na,seen\nb,seen\n"{EVIL}",unseen\n', encoding="utf-8")
    return root


def run(folder, *words) -> int:
    return main(["evaluate", str(folder / "takes"), *map(str, words), "--metrics", "none", "--cpu"])


@pytest.fixture(scope="module")
def scored(folder):
    """An evaluation with everything on; a clip of one method and a baseline of one clip are lacking."""
    out = folder / "scores"
    methods = (f"near={folder / 'near'}", f"far={folder / 'far'}")
    code = run(folder, *methods, "--out", out, "--baselines", "--vbench", "--groups", folder / "groups.csv")
    assert code == 1
    return out


class Markup(HTMLParser):
    """Collects tags, and the sources of images."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.sources += [value for name, value in attributes if name == "src"]
        assert not any(name.startswith("on") for name, _ in attributes)


def test_the_record_holds_frames_means_and_differences(scored):
    record = json.loads((scored / "scores.json").read_text())
    assert (record["format"], record["protocol"]) == ("exo2ego.evaluation", "EgoX")
    assert [clip["name"] for clip in record["clips"]] == sorted(("a", "b", EVIL))
    (a,) = (clip for clip in record["clips"] if clip["name"] == "a")
    assert len(a["scores"]["near"]["psnr"]) == 2
    near, far = record["means"]["all"]["near"]["psnr"], record["means"]["all"]["far"]["psnr"]
    assert near["low"] < near["mean"] < near["high"]
    assert near["mean"] > 25 > far["mean"]
    assert (near["clips"], far["clips"]) == (3, 2)
    assert set(record["means"]) == {"all", "seen", "unseen"}
    fill = record["means"]["all"]["prior + mean color"]
    assert fill["psnr_seen"]["mean"] > 30 > 20 > fill["psnr_unseen"]["mean"]
    assert 45 < fill["unseen_percent"]["mean"] < 55
    (pair,) = (pair for pair in record["paired_differences"] if (pair["first"], pair["second"]) == ("near", "far"))
    assert pair["first_minus_second"]["psnr"]["low"] > 0
    assert pair["first_minus_second"]["psnr"]["clips"] == 2
    lacking = {(entry["clip"], entry["method"]) for entry in record["failed"]}
    assert {("b", "far"), ("b", "prior")} <= lacking


def test_the_tables_have_the_papers_layout(scored):
    text = (scored / "tables.md").read_text(encoding="utf-8")
    assert "| Scenarios | Method | PSNR \u2191 | SSIM \u2191 |" in text
    assert re.search(r"\| seen \| near \| \*\*\d\d\.\d\d\*\* \| \*\*0\.\d{3}\*\* \|", text)
    assert "different numbers of clips (near 3, far 2" in text
    assert "EgoX's published figures are of 448 x 448, these of 32 x 32." in text
    assert "<img" not in text
    assert "\u202e" not in text
    rows = list(csv.DictReader((scored / "clips.csv").open(encoding="utf-8")))
    assert {row["clip"] for row in rows} == {"a", "b", EVIL}
    rows = list(csv.DictReader((scored / "summary.csv").open(encoding="utf-8")))
    assert {"group", "method", "metric", "mean", "low", "high", "clips"} == set(rows[0])


def test_the_page_shows_every_clip_and_runs_nothing(scored):
    page = Markup()
    text = (scored / "index.html").read_text(encoding="utf-8")
    page.feed(text)
    assert page.sources
    assert all((scored / source).stat().st_size > 500 for source in page.sources)
    assert "script" not in page.tags
    for label in ("true ego view", "near", "near: error", "exo", "prior"):
        assert f"<figcaption>{label}</figcaption>" in text


def test_videos_for_vbench_are_the_canvas(scored, capfd):
    names = json.loads((scored / "vbench" / "names.json").read_text())
    video = scored / "vbench" / names["methods"]["near"] / "0002.mp4"
    assert names["clips"]["0002"] in ("a", "b")
    assert read_video(video)[0].shape == (2, 32, 64, 3)


def test_exo2egosyn_and_one_video(folder, capfd):
    truth, pred = folder / "takes" / "a" / "ego_GT.mp4", folder / "near" / "clips" / "a" / "ego.mp4"
    words = ["evaluate", str(truth), f"x={pred}", "--protocol", "Exo2EgoSyn", "--metrics", "none"]
    assert main([*words, "--out", str(folder / "one")]) == 0
    told = capfd.readouterr().out
    assert re.search(r"\| x \| \d\d\.\d{4} \| 0\.\d{4} \|", told)
    assert "there are no intervals" in told
    assert json.loads((folder / "one" / "scores.json").read_text())["clips"][0]["size"] == [256, 256]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to score"),
        (["near"], "NAME=PATH"),
        (["prior=x"], "another method called 'prior'"),
        (["x=/no/such/place"], "No video could be scored"),
        (["x=/", "--metrics", "lpips,fid"], "no measure 'fid'"),
        (["x=/", "--groups", "/no/such.csv"], "cannot be read as CSV"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, capfd, words, message):
    more = [] if "--metrics" in words else ["--metrics", "none"]
    assert main(["evaluate", str(folder / "takes"), *words, *more, "--out", str(tmp_path / "out")]) == 2
    told = capfd.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ")
    assert message in told
    assert not (tmp_path / "out").exists()


def test_more_frames_than_the_truth(folder, tmp_path, capfd):
    write_video(tmp_path / "a.mp4", smooth(0, frames=3), 8)
    take = str(folder / "takes" / "a")
    assert main(["evaluate", take, f"x={tmp_path}", "--metrics", "none", "--out", str(tmp_path / "out")]) == 2
    assert "has 3 frames, and the true ego view 2. Cut both" in capfd.readouterr().err
    words = ["--metrics", "none", "--max-frames", "2", "--out", str(tmp_path / "out")]
    assert main(["evaluate", take, f"x={tmp_path}", *words]) == 0
