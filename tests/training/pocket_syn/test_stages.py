"""Exo2EgoSyn's three stages at the pocket's size, in small: from rooms to components that run in ComfyUI."""

from dataclasses import replace
from shutil import copyfile

import pytest
import torch
from safetensors.torch import load_file

from exo2ego.networks.components.metadata import Component
from exo2ego.networks.components.set import read_components
from exo2ego.networks.pocket_files import COMPONENTS, POCKET, TRAINED_ON, component_file, fingerprint, pocket_file
from exo2ego.takes.random_rooms.take import TakeSize
from exo2ego.training.data.cache import ClipCache
from exo2ego.training.exo2egosyn.settings import AlignSettings
from exo2ego.training.pocket import stages
from exo2ego.training.pocket.plan import FILES, PocketPlan
from exo2ego.training.pocket.train_transformer import train_transformer
from exo2ego.training.pocket_syn import plan as syn
from exo2ego.training.pocket_syn import score as score_views
from exo2ego.training.pocket_syn import stages as syn_stages

SIZE = 64


@pytest.fixture(autouse=True)
def own_precision():
    """A process has one precision in accelerate; the trainings of other tests have another."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    pocket = PocketPlan(
        tmp_path_factory.mktemp("pocket"),
        n_shards=2,
        n_held_out=1,
        n_still=0,
        n_long=0,
        per_shard=1,
        size=TakeSize(5, 128, 128, 128),
        vae_steps=2,
        steps=1,
        batch=2,
        width=128,
        ffn=128,
        blocks=1,
    )
    return syn.SynPlan(
        pocket,
        n_rooms=3,
        n_stills=1,
        n_held_out=2,
        n_frames=5,
        size=SIZE,
        steps=(3, 2, 2),
        batch=(2, 2, 2),
        align=AlignSettings(dim=16, heads=2, dim_head=8, num_blocks=1),
        rank=2,
        pose_dim=8,
    )


def test_all_of_it(plan):
    assert plan.files == POCKET
    stages.make_rooms(plan.pocket)
    stages.train_vae(plan.pocket)
    stages.make_clips(plan.pocket, lambda line: None)
    assert train_transformer(plan.pocket, lambda line: None) == "done: 1 steps"
    stages.export(plan.pocket)
    assert plan.files == plan.pocket.folder / FILES
    lines = []
    syn.make_views(plan, lines.append)
    syn.make_views(plan, lines.append)
    assert lines == [
        "rooms: 3 encoded, 0 were there",
        "stills: 1 encoded, 0 were there",
        "rooms: 0 encoded, 3 were there",
        "stills: 0 encoded, 1 were there",
    ]
    cache = ClipCache(plan.pocket.folder / "views")
    assert {(entry.layout.views, entry.layout.frames) for entry in cache.entries.values()} == {(2, 2), (2, 1)}
    assert syn_stages.export_components(plan) == []  # a stage is missing

    first = replace(plan, steps=(2, 2, 2))  # left, and gone on with
    assert "as asked" in syn_stages.train_stages(replace(first, pocket=replace(plan.pocket, until=1.0)), lines.append)
    assert syn_stages.train_stages(plan, lines.append) == "done: 2 steps"
    trained = [line for line in lines if line.startswith("-- ")]
    assert [line.rpartition(", ")[2] for line in trained] == [
        "0 of 2 steps done",
        "1 of 3 steps done",
        "0 of 2 steps done",
        "0 of 2 steps done",
    ]
    paths = syn_stages.export_components(plan)
    assert paths == [component_file(name, plan.pocket.folder / FILES) for name in COMPONENTS]


def test_stages_that_begin_at_other_components(plan, tmp_path):
    """EgoExo-Align stays as it is; MultiExoCon and its LoRA begin as they were."""
    files = plan.pocket.folder / FILES
    other = replace(plan, pocket=replace(plan.pocket, folder=tmp_path, start=files), steps=(2, 1, 1))
    for name in (syn.VIEWS, syn.FIRST_FRAMES):
        (tmp_path / name).symlink_to(plan.pocket.folder / name)
    (tmp_path / FILES).mkdir()
    for kind in ("vae", "diffusion_models"):
        path = pocket_file(kind, tmp_path / FILES)
        path.parent.mkdir()
        path.symlink_to(pocket_file(kind, files))
    syn_stages.write_base(other)
    copyfile(component_file("align", files), other.file_of(0))
    began = syn_stages.open_stage(other, syn.STAGES[1]).parameters
    assert any(value.any() for name, value in began.items() if "lora_B" in name)  # a new LoRA begins at zero
    lines = []
    assert syn_stages.train_stages(other, lines.append) == "done: 1 steps"
    assert len([line for line in lines if line.startswith("-- ")]) == 2
    own = {path.name: load_file(path) for path in syn_stages.export_components(other)}
    align = component_file("align", files)
    for name, value in load_file(align).items():
        assert torch.equal(own[align.name][name], value)


def test_what_is_held_out_is_not_trained_on(plan):
    for stage, method in enumerate(syn.STAGES):
        trainer = syn_stages.open_stage(plan, method)
        assert trainer.cache.held_out == ("room_000000", "room_000001")
        trained = set(trainer.cache.entries) - set(trainer.cache.held_out)
        # One frame shows EgoExo-Align all it learns; the later stages learn what follows it.
        assert trained == ({"room_000002"} if stage else {"room_000002", "room_020000"})


def test_the_base_is_the_pocket_transformer(plan):
    """Before stage 1 it does what the pocket transformer does that ignores its text: whatever it is shown."""
    from exo2ego.networks.weights.wan_kinds import WAN22_I2V, wan_kind

    base, own = load_file(plan.base), load_file(pocket_file("diffusion_models", plan.files))
    assert wan_kind(base) == WAN22_I2V
    for name, value in base.items():
        if any(f"cross_attn.{layer}.weight" in name for layer in "qkv"):
            assert value.std() > 0.01, name  # zeros times zeros would never learn
        else:
            assert torch.equal(value, own[name].float()), name
    assert not base["blocks.0.cross_attn.o.weight"].any()


def test_components_go_on_the_exported_transformer(plan):
    from exo2ego.wan.exo2egosyn.apply import apply_exo2egosyn
    from exo2ego.wan.pocket.load import load_pocket

    folder = plan.pocket.folder / FILES
    parts = read_components({Component(name): component_file(name, folder) for name in COMPONENTS})
    assert parts.notes() == []
    for part in parts.parts.values():
        assert part.metadata.image_size == (SIZE, SIZE)
        assert part.metadata.trained_by == "make pocket"
        assert part.metadata.other == {TRAINED_ON: fingerprint(load_file(pocket_file("diffusion_models", folder)))}
    model = load_pocket(folder, for_exo2egosyn=True).model
    with pytest.raises(ValueError, match="no exo views are connected"):
        apply_exo2egosyn(model, parts)  # and not that they do not fit the model
    first = read_components({Component.ALIGN: component_file("align", folder)})
    assert apply_exo2egosyn(model, first).model is model.model


def test_scores(plan):
    found = score_views.score_views(plan, n_videos=1)
    rows = found.lines()
    assert rows[0] == "| method | PSNR | SSIM | full is better by, dB |"
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]] == [
        score_views.FULL,
        score_views.ALIGN,
        score_views.OTHER_ROOM,
        score_views.MEAN_ROOM,
        score_views.NEAREST,
        score_views.EXO_COLOR,
        score_views.TRUE_COLOR,
        score_views.CODEC,
    ]
    (videos,) = found.videos
    assert [tuple(video.shape) for video in videos.values()] == [(5, SIZE, SIZE, 3)] * 5
    # The color of the truth itself is the best of all single colors.
    means = {name: scores.means["psnr"] for name, scores in found.methods.items()}
    assert means[score_views.TRUE_COLOR] > means[score_views.EXO_COLOR]


def test_where_nothing_was_trained_the_pack_s_components_are_scored(plan, tmp_path):
    """As they run in ComfyUI; once a stage has begun they are not."""
    shipped = syn.SynPlan(PocketPlan(tmp_path), n_rooms=2, n_stills=1, n_held_out=1, n_frames=5)
    assert score_views.score(shipped) == []  # no kitchens
    syn.make_views(shipped, lambda line: None)
    rows = score_views.score(shipped)
    psnr = {row.split(" | ")[0].removeprefix("| "): float(row.split(" | ")[1].split()[0]) for row in rows[2:]}
    assert psnr[score_views.FULL] > 2 + max(psnr[name] for name in (score_views.NEAREST, score_views.TRUE_COLOR))
    syn_stages.train_stages(replace(shipped, steps=(2, 1, 1), pocket=replace(shipped.pocket, until=1.0)), print)
    assert score_views.score(shipped) == []


def test_another_transformer_begins_anew(plan):
    more = replace(plan, pocket=replace(plan.pocket, steps=2))
    train_transformer(more.pocket, lambda line: None)
    stages.export(more.pocket)
    with pytest.raises(ValueError, match="Stage 1 of Exo2EgoSyn was trained on another transformer"):
        syn_stages.train_stages(more, lambda line: None)
