"""What `training screen` finds: nothing against a good take, and each fault of a broken one by its name."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace

import pytest
import torch

pytest.importorskip("numba", reason="numba, of the extra for training, is not installed")
from exo2ego.geometry.cameras.camera import Camera
from exo2ego.geometry.depth.depth import Depth, DepthMeaning
from exo2ego.takes.egox.write import write_take
from exo2ego.takes.random_rooms.take import PROMPT, TakeSize, random_take
from exo2ego.takes.random_rooms.views import random_views
from exo2ego.takes.take import Take
from exo2ego.takes.views import Clip
from exo2ego.training.data.screened import Verdict, kept, read_screened
from exo2ego.training.data.takes import TakeSource
from exo2ego.training.screening.page import write_page
from exo2ego.training.screening.screen import look_at, screen
from exo2ego.wan.egox.prompt import estimated_tokens
from support.training import tiny_recipe

SIZE = TakeSize(n_frames=5, exo_width=224, exo_height=128, ego_size=128)
DATA = {"frames": 5, "exo_size": [224, 128], "ego_size": [128, 128], "held_out": []}


@dataclass(frozen=True)
class Given(TakeSource):
    """A take, or views, at hand."""

    given: object
    name: str = "given"

    def made(self):
        return {}

    def take(self, n_frames, exo_size, ego_size):
        return self.given

    def views(self, clip, ego_view):
        return self.given


@pytest.fixture(scope="module")
def room() -> Take:
    return random_take(3, SIZE)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return tiny_recipe(tmp_path_factory.mktemp("screen"), data=DATA)


def found(take, recipe, folder, **screen_settings) -> Verdict:
    recipe = replace(recipe, screen=replace(recipe.screen, **screen_settings))
    return look_at(Given(take), recipe, folder, estimated_tokens, {})


def moved(camera: Camera, change) -> Camera:
    """Return a camera whose camera-to-world matrices were changed."""
    return replace(camera, world_to_camera=torch.linalg.inv(change(camera.camera_to_world.clone())))


def turned(take: Take, degrees: float) -> Take:
    angle = math.radians(degrees)
    turn = torch.eye(4, dtype=torch.float64)
    turn[0, 0] = turn[2, 2] = math.cos(angle)
    turn[0, 2], turn[2, 0] = math.sin(angle), -math.sin(angle)
    return replace(take, ego_camera=moved(take.ego_camera, lambda poses: poses @ turn))


def farther(take: Take, factor: float) -> Take:
    """The exo camera is the world's origin: so the poses have another unit."""

    def scale(poses):
        poses[:, :3, 3] *= factor
        return poses

    return replace(take, ego_camera=moved(take.ego_camera, scale))


def shifted(take: Take, offset, frames=slice(None)) -> Take:
    def shift(poses):
        poses[frames, :3, 3] += torch.tensor(offset, dtype=poses.dtype)
        return poses

    return replace(take, ego_camera=moved(take.ego_camera, shift))


def deeper(take: Take, factor: float) -> Take:
    return replace(take, depth=Depth(take.depth.metric() * factor, DepthMeaning.METRIC))


def test_a_good_take_is_kept(room, recipe, tmp_path):
    verdict = found(room, recipe, tmp_path)
    assert verdict.reasons == {}
    assert verdict.is_kept
    assert 0.9 < verdict.measured["pose_to_depth"] < 1.4
    assert verdict.measured["prior_agreement"] > 0.6
    assert (tmp_path / verdict.sheet).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("broken", "reason", "sentence"),
    [
        (lambda take: replace(take, ego_prior=0 * take.ego_prior), "empty prior", r"in 0\.0 % of its pixels"),
        (lambda take: replace(take, ego_prior=take.ego_prior.flip(2)), "prior", "or another depth"),
        (lambda take: turned(take, 40), "prior", "made with other poses"),
        (lambda take: farther(take, 2), "scale", "times as far from the exo camera as the depth says"),
        (lambda take: farther(take, 0.5), "scale", "poses and depth have different units"),
        (lambda take: deeper(take, 1000), "scale", r"is 0\.001\d+ times as far"),
        (lambda take: shifted(take, (8.0, 0, 0)), "poses", "outside the exo image, or behind the exo camera"),
        (lambda take: shifted(take, (0, 0, -9.0)), "poses", "behind the exo camera, in every frame"),
        (lambda take: shifted(take, (0, 0.7, 0), 2), "path", r"by 0\.70? m from frame 1 to 2, 11\.\d m/s"),
        (lambda take: replace(take, ego_truth=take.ego_truth[[1] * 5]), "frozen true ego view", "is one still image"),
        (lambda take: replace(take, exo=0.5 + 0 * take.exo), "blank exo view", "nothing in 5 of 5 frames"),
        (lambda take: replace(take, ego_truth=None), "views", r"no true ego view \(ego_GT\.mp4\)"),
        (lambda take: replace(take, ego_truth=take.ego_truth[:, ::2, ::2]), "size", "true ego 64 x 64 in place of 128"),
        (lambda take: replace(take, prompt=" "), "text", "is empty"),
        (lambda take: replace(take, prompt=PROMPT[:-20]), "text", "breaks off in mid-sentence: '"),
        (lambda take: replace(take, prompt=PROMPT.partition("[Ego")[0]), "text", "does not describe the Ego view"),
        (lambda take: replace(take, prompt=PROMPT[: PROMPT.rindex("\n")]), "text", "Nothing follows .*Action Analysis"),
        (lambda take: replace(take, prompt=PROMPT.replace("A kitchen", "A kitchen " * 400)), "text", "about 0 tokens"),
    ],
)  # fmt: skip
def test_a_broken_take_is_rejected_by_its_fault(room, recipe, tmp_path, broken, reason, sentence):

    verdict = found(broken(room), recipe, tmp_path)
    assert reason in verdict.reasons, verdict
    assert re.search(sentence, verdict.reasons[reason])
    # A pose that is wrong disagrees with the prior as well; nothing else is held against the take.
    assert set(verdict.reasons) <= {reason, "prior", "scale"}


def test_limits_are_settings(room, recipe, tmp_path):
    assert found(farther(room, 2), recipe, tmp_path, scale=0, agreement=0).is_kept
    assert not found(farther(room, 1.3), recipe, tmp_path, scale=1.1, agreement=0).is_kept
    assert found(shifted(room, (0, 0.7, 0), 2), recipe, tmp_path, speed=30, agreement=0).is_kept
    assert "empty prior" in found(room, recipe, tmp_path, coverage=99).reasons
    long = replace(room, prompt=PROMPT.replace("A kitchen", "A kitchen " * 400))
    assert found(long, recipe, tmp_path, cut_texts="keep").is_kept
    later = replace(room, prompt=f"{PROMPT} {'And so on. ' * 300}")
    assert "tokens, and Wan reads 512" in found(later, recipe, tmp_path).notes[0]
    assert "text" in found(later, recipe, tmp_path, cut_texts="reject").reasons


def test_views_without_depth(recipe, tmp_path):
    views = random_views(3, Clip(0, 5, 8, 64))
    syn = tiny_recipe(tmp_path, data=DATA, run={"method": "exo2egosyn stage 0"})
    assert found(views, syn, tmp_path).reasons == {}
    elsewhere = replace(views, ego_camera=shifted(views, (0, -6.0, 0)).ego_camera)
    assert "do not fit each other" in found(elsewhere, syn, tmp_path).reasons["poses"]
    assert "has 3 exo views" in found(replace(views, exo=views.exo[:3]), syn, tmp_path).reasons["views"]


@pytest.fixture(scope="module")
def screened(room, tmp_path_factory):
    """A folder with a good take, a torn one and one with markup in its name."""
    folder = tmp_path_factory.mktemp("takes")
    names = ["good", "torn", "<b>bold & co"]
    for name in names:
        write_take(room, folder / name)
    video = folder / "torn" / "ego_GT.mp4"
    video.write_bytes(video.read_bytes()[:1000])
    recipe = tiny_recipe(folder, data={**DATA, "takes": names})
    lines = []
    verdicts, page = screen(recipe, folder, show=lines.append)
    return folder, recipe, verdicts, page, lines


def test_a_report_and_a_list(screened):
    folder, _, verdicts, page, lines = screened
    assert [verdict.is_kept for verdict in verdicts] == [True, False, True]
    assert "estimated from the words" in lines[0]
    assert "ego_GT.mp4 is not a readable video" in lines[2]
    path = folder / "screening" / "screened.json"
    assert read_screened(path).keys() == {"good", "torn", "<b>bold & co"}
    assert kept(path, ["good", "torn"]) == ["good"]
    text = page.read_text()
    assert "2 of 3 takes are fit" in text
    assert text.index("torn") < text.index("good")
    assert "&lt;b&gt;bold &amp; co" in text
    assert "<b>" not in text
    sheets = {verdict.sheet for verdict in verdicts if verdict.sheet}
    assert len(sheets) == 2
    for sheet in sheets:
        assert (page.parent / sheet).is_file()
        assert sheet in text


def test_what_has_not_changed_is_not_looked_at_again(screened):
    folder, recipe, *_ = screened
    sheet = folder / "screening" / "sheets" / "good.png"
    before = sheet.stat().st_mtime_ns
    screen(recipe, folder, show=lambda line: None)
    assert sheet.stat().st_mtime_ns == before
    meta = folder / "good" / "meta.json"
    content = json.loads(meta.read_text())
    meta.write_text(json.dumps({**content, "prompt": ""}))
    verdicts, _ = screen(recipe, folder, show=lambda line: None)
    assert verdicts[0].reasons.keys() == {"text"}
    assert sheet.stat().st_mtime_ns > before
    strict = replace(recipe, screen=replace(recipe.screen, coverage=99.0))
    verdicts, _ = screen(strict, folder, folder / "elsewhere", show=lambda line: None)
    assert "empty prior" in verdicts[2].reasons


def test_a_real_take_is_kept_and_with_wrong_poses_rejected(shared_take, recipe, tmp_path):
    from exo2ego.takes.egox.read import read_take

    take = read_take(shared_take("iiith_cooking_57_2_2451_2499"), max_frames=5)
    sizes = replace(recipe, data=replace(recipe.data, exo_size=(784, 448), ego_size=(448, 448)))
    assert found(take, sizes, tmp_path).reasons == {}
    assert found(turned(take, 30), sizes, tmp_path).reasons.keys() == {"prior"}
    assert "scale" in found(deeper(take, 2), sizes, tmp_path).reasons


def test_names_cannot_act_on_the_page(tmp_path):
    names = ["</section><script>alert(1)</script>", 'a"onload="x', "\u202egnp"]
    page = write_page(
        tmp_path / "index.html", [Verdict(name, {name: name}, (name,), {}, {}, name) for name in names], "x"
    )
    text = page.read_text()
    assert "<script" not in text
    assert '"onload=' not in text
    assert "\u202e" not in text
