from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from exo2ego.networks.components.build import (
    base_patch_embedding,
    build_align,
    build_exo_channels,
    build_exo_tokenizer,
    build_pose_injection,
    cross_attention_set,
)
from exo2ego.networks.components.files import read_component, write_component
from exo2ego.networks.components.metadata import AlignMetadata, Component
from exo2ego.networks.exo2egosyn.ego_exo_align import AlignConfig
from exo2ego.networks.exo2egosyn.exo_tokens import ExoTokenConfig
from exo2ego.networks.exo2egosyn.pose_injection import PoseConfig
from exo2ego.networks.exo2egosyn.self_attention_lora import LoraConfig
from exo2ego.networks.exo2egosyn.vawan import VawanConfig
from exo2ego.networks.weights.safetensors_file import write_safetensors
from exo2ego.networks.weights.shards import shard_number
from support.lora_names import SPELLINGS, spelled
from support.tiny_egosyn import (
    ALIGN_BLOCKS,
    ALIGN_DIM,
    ALIGN_DIM_HEAD,
    ALIGN_HEADS,
    ALPHA,
    POSE_DIM,
    RANK,
    tiny_component,
)
from support.tiny_wan import DIM, LAYERS

SHARD = 50_000  # bytes: every component of the tiny size needs several
LORA = LoraConfig(DIM, LAYERS, RANK, ALPHA)
CONFIGS = {
    Component.ALIGN: AlignConfig(ALIGN_DIM, ALIGN_HEADS, ALIGN_DIM_HEAD, ALIGN_BLOCKS),
    Component.MULTIEXOCON: ExoTokenConfig(DIM, 4, "none", LAYERS),
    Component.POSEINJ: PoseConfig(DIM, POSE_DIM),
    Component.LORA: LORA,
    Component.VAWAN: VawanConfig(4, LORA),
}
every_component = pytest.mark.parametrize("component", list(Component), ids=lambda component: component.value)


def assert_same_tensors(got, expected):
    """As they were saved, but for a LoRA's factors, which are read as bfloat16."""
    assert set(got) == set(expected)
    expected = {key: tensor.bfloat16() if ".lora_" in key else tensor for key, tensor in expected.items()}
    assert all(torch.equal(got[key], expected[key]) and got[key].dtype == expected[key].dtype for key in expected)


@every_component
def test_a_component_comes_back_as_it_was_written(tmp_path, component):
    tiny = tiny_component(component, category="bike", step=100_000, stage=1, other={"made_for": "a test"})
    path = tiny.write(tmp_path / "tiny.safetensors")
    assert path == tmp_path / "tiny.safetensors"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    loaded = read_component(path, component)
    assert (loaded.file, loaded.component, loaded.metadata) == (path.name, component, tiny.metadata)
    assert loaded.config == CONFIGS[component]
    assert_same_tensors(loaded.state_dict, tiny.tensors)


@every_component
def test_sizes_that_the_header_does_not_tell_follow_from_the_tensors(tmp_path, component):
    """`num_views` of MultiExoCon stands in no tensor: four, as in the paper."""
    tiny = tiny_component(component)
    path = tmp_path / "tiny.safetensors"
    names = ("format", "format_version", "component", "base_model")
    save_file(tiny.tensors, path, {name: tiny.metadata.to_header()[name] for name in names})
    assert read_component(path).config == CONFIGS[component]


@every_component
def test_shards(tmp_path, component):
    tiny = tiny_component(component, category="bike")
    index = tiny.write(tmp_path / "tiny.safetensors", max_shard_bytes=SHARD)
    assert index.name == "tiny.safetensors.index.json"
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 1
    assert [shard_number(shard.name) for shard in shards] == list(range(1, len(shards) + 1))
    weight_map = json.loads(index.read_text())["weight_map"]
    for shard in shards:
        tensors = load_file(shard)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= SHARD or len(tensors) == 1
        assert {key: shard.name for key in tensors}.items() <= weight_map.items()
        with safe_open(shard, "pt") as file:
            assert file.metadata() == tiny.metadata.to_header()
    for path in (index, shards[0], shards[-1], tmp_path / "tiny.safetensors"):
        loaded = read_component(path, component)
        assert loaded.metadata == tiny.metadata
        assert_same_tensors(loaded.state_dict, tiny.tensors)
    index.unlink()
    assert_same_tensors(read_component(shards[1]).state_dict, tiny.tensors)


def test_only_a_shard_has_a_number():
    assert shard_number("align.safetensors") is None
    assert shard_number("cross-00002-of-00003.safetensors") == 2


def test_networks_are_built_with_the_weights_of_the_file_and_can_be_trained(tmp_path):
    builders = {
        Component.ALIGN: build_align,
        Component.MULTIEXOCON: build_exo_tokenizer,
        Component.POSEINJ: build_pose_injection,
    }
    for component, build in builders.items():
        tiny = tiny_component(component)
        loaded = read_component(tiny.write(tmp_path / f"{component.value}.safetensors"))
        module = build(loaded)
        expected = {key: tensor for key, tensor in tiny.tensors.items() if "cross_attn" not in key}
        assert_same_tensors(module.state_dict(), expected)
        assert all(parameter.requires_grad for parameter in module.parameters())
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1)  # mapped from the file, which must not follow
        assert_same_tensors(read_component(tmp_path / loaded.file).state_dict, tiny.tensors)
        loaded = read_component(tmp_path / loaded.file)
        assert {parameter.dtype for parameter in build(loaded, dtype=torch.bfloat16).parameters()} == {torch.bfloat16}


def test_cross_attention_weights_apart_from_the_tokeniser(tmp_path):
    tiny = tiny_component(Component.MULTIEXOCON, exo_pos="learned")
    found = cross_attention_set(read_component(tiny.write(tmp_path / "tiny.safetensors")))
    assert_same_tensors(found, {key: tensor for key, tensor in tiny.tensors.items() if "cross_attn" in key})


def test_vawan_apart_from_the_base(tmp_path):
    tiny = tiny_component(Component.VAWAN, views=2)
    loaded = read_component(tiny.write(tmp_path / "tiny.safetensors"))
    weight = tiny.tensors["patch_embedding.weight"]
    base = base_patch_embedding(loaded)
    assert torch.equal(base["patch_embedding.weight"], weight[:, :36])
    assert torch.equal(base["patch_embedding.bias"], tiny.tensors["patch_embedding.bias"])
    assert torch.equal(build_exo_channels(loaded).embed.weight, weight[:, 36:])


@pytest.mark.parametrize("name", ["view_emb", "fuse"])
def test_the_other_form_of_a_component_is_known_by_its_tensors(tmp_path, name):
    if name == "view_emb":
        tiny = tiny_component(Component.MULTIEXOCON, exo_pos="learned", views=3)
        expected = ExoTokenConfig(DIM, 3, "learned", LAYERS)
    else:
        tiny = tiny_component(Component.POSEINJ, fuse="additive")
        expected = PoseConfig(DIM, POSE_DIM, fuse="additive")
    header = tiny.metadata.to_header()
    for told in ("exo_pos", "fuse", "num_views"):
        header.pop(told, None)
    save_file(tiny.tensors, tmp_path / "tiny.safetensors", header)
    assert read_component(tmp_path / "tiny.safetensors").config == expected


def test_any_feed_forward_width_is_read(tmp_path):
    """It is rounded down from a factor that the header need not tell."""
    from exo2ego.networks.exo2egosyn.ego_exo_align import EgoExoAlign

    for ff_mult in (0.7, 1.0, 4.0, 4.07):
        module = EgoExoAlign(AlignConfig(40, 2, 8, 1, ff_mult))
        path = write_component(tmp_path / f"{ff_mult}.safetensors", AlignMetadata(), module.state_dict())
        assert read_component(path).config.ff_inner == module.config.ff_inner


def test_bfloat16_stays_bfloat16(tmp_path):
    tiny = tiny_component(Component.POSEINJ)
    tensors = {key: tensor.bfloat16() for key, tensor in tiny.tensors.items()}
    loaded = read_component(write_component(tmp_path / "tiny.safetensors", tiny.metadata, tensors))
    assert_same_tensors(loaded.state_dict, tensors)
    assert build_pose_injection(loaded).out.weight.dtype == torch.bfloat16


# Refusals ---------------------------------------------------------------------------------------------------------


def refuses(path, message, expected=None):
    with pytest.raises(ValueError, match=message) as caught:
        read_component(path, expected)
    assert path.name in str(caught.value)


@pytest.fixture
def changed(tmp_path):
    """Save a component with a header or tensors that were changed, and return the path."""

    def save(component=Component.POSEINJ, header=None, tensors=None):
        tiny = tiny_component(component)
        path = tmp_path / "changed.safetensors"
        lines = {**tiny.metadata.to_header(), **(header or {})}
        content = {**tiny.tensors, **(tensors or {})}
        save_file(
            {key: value for key, value in content.items() if value is not None},
            path,
            {key: value for key, value in lines.items() if value is not None},
        )
        return path

    return save


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": None}, "not a component of Exo2EgoSyn: its header lacks format=exo2egosyn"),
        ({"format": "pt"}, "not a component of Exo2EgoSyn"),
        ({"format_version": "2"}, "version 2 of the format, and this version of ComfyUI-Exo2Ego reads 1: update"),
        ({"format_version": None}, "version None of the format"),
        (
            {"component": "colour"},
            "component is colour, and this version reads align, multiexocon, poseinj, lora, vawan",
        ),
        (
            {"base_model": "Wan2.1-I2V-14B"},
            "trained on Wan2.1-I2V-14B, and Exo2EgoSyn runs on Wan2.2-I2V-A14B-low-noise",
        ),
        ({"base_model": "Wan2.2-I2V-A14B-high-noise"}, "trained on Wan2.2-I2V-A14B-high-noise"),
        ({"base_model": None}, "trained on None"),
        ({"component": "align", "pose_reference": "per_view"}, "lacks the tensor"),
        ({"fuse": "film"}, "fuse is film, and this version reads concat or additive"),
        ({"fuse": "additive"}, "1 tensors do not belong to the component poseinj .fuse.delta_x.weight"),
        ({"unshuffle": "8"}, r"stem.weight is expected as \[24, 384, 1\], got \[24, 1536, 1\]"),
        ({"kernel": "three"}, "kernel is 'three', expected a whole number"),
    ],
)
def test_a_header_that_does_not_fit(changed, header, message):
    refuses(changed(header=header), message)


def test_another_component_than_the_one_that_belongs_here(changed):
    refuses(changed(), "holds the component poseinj, and align belongs here", Component.ALIGN)


@every_component
def test_a_missing_tensor(changed, component):
    for key in tiny_component(component).tensors:
        refuses(changed(component, tensors={key: None}), "missing|lacks the tensor|do not belong")


@every_component
def test_a_tensor_too_many(changed, component):
    refuses(changed(component, tensors={"stray.weight": torch.zeros(2)}), "1 tensors do not belong.*stray.weight")


@every_component
def test_a_tensor_of_another_shape(changed, component):
    for key, tensor in tiny_component(component).tensors.items():
        larger = torch.zeros([size + 1 for size in tensor.shape] or [2])
        refuses(changed(component, tensors={key: larger}), r"expected|num_blocks|Every size")


@pytest.mark.parametrize(
    ("component", "name"),
    [
        *((Component.ALIGN, name) for name in ("dim", "heads", "dim_head", "ff_mult", "patch_size")),
        *((Component.POSEINJ, name) for name in ("unshuffle", "kernel")),
    ],
)
def test_sizes_at_the_limit_are_of_other_tensors(changed, component, name):
    """The largest sizes that a header may tell still make shapes that can be compared."""
    refuses(changed(component, header={name: "100000"}), "is expected as|heads=0")


def test_an_empty_tensor_that_tells_a_size(changed):
    header = {"dim_head": None, "heads": None}
    empty = {"blocks.0.spatial.attn.q_scale": torch.zeros(0)}
    refuses(changed(Component.ALIGN, header, empty), r"q_scale is empty, its shape is \[0\]")


def test_a_block_that_is_missing(changed):
    tensors = tiny_component(Component.MULTIEXOCON, blocks=3).tensors
    gap = {key: (None if key.startswith("blocks.1.") else tensor) for key, tensor in tensors.items()}
    refuses(changed(Component.MULTIEXOCON, tensors=gap), r"10 tensors are missing .blocks.1.cross_attn")
    refuses(
        changed(Component.ALIGN, header={"num_blocks": "3"}), "num_blocks is 3, and the file holds tensors of 2 blocks"
    )


def test_numbers_that_are_no_weights(changed):
    wrong = torch.zeros(POSE_DIM, dtype=torch.int64)
    refuses(changed(tensors={"out.bias": wrong}), "out.bias holds torch.int64, expected floating-point")


def test_two_alphas(changed):
    wrong = {"diffusion_model.blocks.1.self_attn.v.alpha": torch.tensor(2.0)}
    refuses(changed(Component.LORA, tensors=wrong), r"blocks.1.self_attn.v.alpha is 2, and alpha is 8 elsewhere")
    refuses(changed(Component.LORA, header={"alpha": "4"}), "alpha is 8, and alpha is 4 elsewhere")


def test_a_file_that_is_not_there(tmp_path):
    refuses(tmp_path / "gone.safetensors", "missing in")
    refuses(tmp_path / "gone.safetensors.index.json", "There is no file")
    for numbers in ("00001-of-00000", "00003-of-00002", "00000-of-00002"):
        refuses(tmp_path / f"gone-{numbers}.safetensors", "not a shard of")


def test_a_header_whose_length_looks_like_a_pickle(changed):
    """Its first byte is the one that pickles begin with; one file in 32 has such a header."""
    lengths = set()
    for padding in range(0, 256, 8):
        path = changed(header={"trained_by": "x" * padding})
        lengths.add(path.read_bytes()[0])
        assert read_component(path).metadata.trained_by == "x" * padding
    assert 0x80 in lengths


def test_a_torn_file(changed):
    path = changed()
    whole = path.read_bytes()
    for size in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refuses(path, "truncated, corrupt or not a safetensors file.*download it again")


def test_a_damaged_header_is_told_in_plain_words(tmp_path):
    path = tmp_path / "align.safetensors"
    header = b'{"a": {"shape": [1], "data_offsets": [0, 4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match=r"not a safetensors file \(its header is damaged\): download it again"):
        read_component(path)


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize("name", ["component.safetensors", "component.pt"])
@pytest.mark.parametrize("as_zip", [True, False, None], ids=["zip", "legacy", "bare"])
def test_a_pickle_is_never_opened(tmp_path, name, as_zip):
    path = tmp_path / name
    if as_zip is None:
        path.write_bytes(pickle.dumps(Trap()))
    else:
        torch.save(Trap(), path, _use_new_zipfile_serialization=as_zip)
    refuses(path, "Pickled files .* are not opened")
    assert not Trap.sprung


# Shards that do not fit -------------------------------------------------------------------------------------------


@pytest.fixture
def sharded(tmp_path):
    index = tiny_component(Component.ALIGN).write(tmp_path / "tiny.safetensors", max_shard_bytes=SHARD)
    return index, sorted(tmp_path.glob("*.safetensors"))


def test_a_missing_shard(sharded):
    index, shards = sharded
    shards[1].unlink()
    for path in (index, shards[0]):
        with pytest.raises(ValueError, match=f"1 of {len(shards)} shards missing.*{shards[1].name}"):
            read_component(path)


def test_a_torn_shard(sharded):
    index, shards = sharded
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{shards[1].name} is truncated, corrupt"):
        read_component(index)


def test_shards_of_two_steps(sharded):
    index, shards = sharded
    header = tiny_component(Component.ALIGN, step=7).metadata.to_header()
    save_file(load_file(shards[1]), shards[1], header)
    with pytest.raises(ValueError, match="not shards of one file: step differ"):
        read_component(index)


def test_a_tensor_in_two_shards(sharded):
    index, shards = sharded
    twice = next(iter(load_file(shards[0]).items()))
    header = tiny_component(Component.ALIGN).metadata.to_header()
    save_file({**load_file(shards[1]), twice[0]: twice[1]}, shards[1], header)
    with pytest.raises(ValueError, match=f"repeats {twice[0]} of another shard"):
        read_component(index)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}', '{"weight_map": {"a": 3}}']
)
def test_an_index_that_is_none(sharded, text):
    index, _ = sharded
    index.write_text(text)
    refuses(index, "not an index of shards|not name files of its own folder")


@pytest.mark.parametrize("place", ["..", "sub", "absolute"])
def test_an_index_that_leads_elsewhere(sharded, place):
    index, shards = sharded
    folder = index.parent / "sub"
    folder.mkdir()
    elsewhere = {"..": f"../{shards[0].name}", "sub": f"sub/{shards[0].name}", "absolute": str(shards[0])}[place]
    index.write_text(json.dumps({"weight_map": {"head.bias": elsewhere}}))
    refuses(index, "not name files of its own folder")


# Writing ----------------------------------------------------------------------------------------------------------


def test_a_component_that_could_not_be_read_is_not_written(tmp_path):
    tiny = tiny_component(Component.ALIGN)
    del tiny.tensors["head.bias"]
    with pytest.raises(ValueError, match=r"head\.bias"):
        tiny.write(tmp_path / "tiny.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tiny.pt", "tiny", "tiny-00001-of-00002.safetensors"])
def test_names_that_could_not_be_read_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"NAME\.safetensors"):
        tiny_component(Component.ALIGN).write(tmp_path / name)


def test_one_file_and_shards_of_one_name_cannot_lie_side_by_side(tmp_path):
    tiny = tiny_component(Component.ALIGN)
    path = tiny.write(tmp_path / "tiny.safetensors")
    with pytest.raises(ValueError, match=r"tiny\.safetensors is there already"):
        tiny.write(path, max_shard_bytes=SHARD)
    path.unlink()
    tiny.write(path, max_shard_bytes=SHARD)
    with pytest.raises(ValueError, match=r"index.json is there already"):
        tiny.write(path)


def test_the_file_is_the_formats_own(tmp_path):
    """Read by the format's own library: types, names and order of sizes that do not divide each other."""
    tensors = {
        "odd": torch.randn(3).bfloat16(),
        "scalar": torch.tensor(4.0),
        "double": torch.randn(2, 3, dtype=torch.float64),
        "turned": torch.randn(4, 3).T,
        "half": torch.randn(5).half(),
        "eighth": torch.randn(3).to(torch.float8_e4m3fn),
        "cast": torch.randn(7),
        "empty": torch.zeros(0, 4),
    }
    written, path = [], tmp_path / "all.safetensors"
    write_safetensors(path, tensors, {"a": "\u00e9"}, {"cast": torch.bfloat16}, written.append)
    expected = {**tensors, "cast": tensors["cast"].bfloat16()}
    got = load_file(path)
    assert {key: value.dtype for key, value in got.items()} == {key: value.dtype for key, value in expected.items()}
    assert all(torch.equal(got[key].float(), expected[key].float()) for key in expected)
    header = json.loads(path.read_bytes()[8:].split(b"}}")[0] + b"}}")
    for key, value in expected.items():  # what maps a file wants every number at a multiple of its size
        assert header[key]["data_offsets"][0] % value.dtype.itemsize == 0
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"a": "\u00e9"}
    assert sum(written) == sum(value.nbytes for value in expected.values())


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    """A full disk, at the second shard."""
    from exo2ego.networks.components import files as component_files

    old, new = tiny_component(Component.ALIGN, step=1), tiny_component(Component.ALIGN, step=2, seed=2)
    path = tmp_path / "tiny.safetensors"
    index = old.write(path, max_shard_bytes=SHARD)
    files = {file.name for file in tmp_path.iterdir()}
    write, calls = component_files.write_safetensors, []

    def full_disk(name, *rest):
        calls.append(name)
        if len(calls) == 2:
            name.write_bytes(b"half")
            raise OSError("No space left on device")
        write(name, *rest)

    monkeypatch.setattr(component_files, "write_safetensors", full_disk)
    with pytest.raises(OSError, match="No space"):
        new.write(path, max_shard_bytes=SHARD)
    assert {file.name for file in tmp_path.iterdir()} == files
    loaded = read_component(index)
    assert loaded.metadata.step == 1
    assert_same_tensors(loaded.state_dict, old.tensors)


def test_writing_over_a_file_that_is_mapped(tmp_path):
    """A trainer may save over the file that it started from."""
    old, new = tiny_component(Component.POSEINJ, step=1), tiny_component(Component.POSEINJ, step=2, seed=2)
    path = old.write(tmp_path / "tiny.safetensors")
    mapped = read_component(path)
    new.write(path)
    assert_same_tensors(mapped.state_dict, old.tensors)
    assert_same_tensors(read_component(path).state_dict, new.tensors)


def test_tensors_that_are_views_are_written(tmp_path):
    tiny = tiny_component(Component.POSEINJ)
    turned = {key: tensor.t().contiguous().t() if tensor.ndim == 2 else tensor for key, tensor in tiny.tensors.items()}
    path = write_component(tmp_path / "tiny.safetensors", tiny.metadata, turned)
    assert_same_tensors(read_component(path).state_dict, tiny.tensors)


# Names of LoRAs -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[Component.LORA, Component.VAWAN], ids=lambda component: component.value)
def with_lora(request, tmp_path):
    """Write a component with its LoRA in another spelling and another scale; return the file and what it held."""
    tiny = tiny_component(request.param)
    lora = {key: value for key, value in tiny.tensors.items() if ".lora_" in key}
    others = {key: value for key, value in tiny.tensors.items() if not key.startswith("diffusion_model.")}

    def write(spelling, alpha, **changes):
        named = spelled({in_diffusers_names(key): value for key, value in lora.items()}, spelling, alpha)
        named = {changes.get(key, key): value for key, value in named.items()}
        path = tmp_path / "spelled.safetensors"
        header = {key: value for key, value in tiny.metadata.to_header().items() if key != "alpha"}
        save_file({**others, **named}, path, header)
        return path, lora, named

    return write


def in_diffusers_names(key):
    layer, factor = key.split(".lora_")
    _, _, block, _, name = layer.split(".")
    return f"transformer.blocks.{block}.attn1.to_{name if name != 'o' else 'out.0'}.lora_{factor}"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_five_spellings_of_one_lora_give_equal_deltas(with_lora, spelling):
    alpha = 2.0
    path, lora, _ = with_lora(spelling, alpha)
    got = read_component(path).state_dict
    assert {key for key in got if ".lora_" in key} == set(lora)
    for key, down in lora.items():
        if "lora_A" in key:
            layer = key.removesuffix(".lora_A.weight")
            factors = (got[f"{layer}.lora_{factor}.weight"] for factor in "BA")
            up, its_down = (factor.float() for factor in factors)
            delta = got[f"{layer}.alpha"] / its_down.shape[0] * up @ its_down
            expected = alpha / RANK * lora[f"{layer}.lora_B.weight"] @ down
            torch.testing.assert_close(delta, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_that_maps_only_in_part_is_refused_by_name(with_lora, spelling):
    _, _, named = with_lora(spelling, 2.0)
    first = next(key for key in named if not key.endswith("alpha"))
    odd = first.replace("attn", "bttn")
    path, _, _ = with_lora(spelling, 2.0, **{first: odd})
    refuses(path, rf"1 keys of its LoRA name no layer of Wan's blocks \({odd}\)")


def test_two_names_of_one_factor(with_lora):
    path, _, named = with_lora("diffusers", 2.0)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    first = next(iter(named))
    extra = {first.replace("transformer.", "base_model.model."): named[first]}
    save_file({**load_file(path), **extra}, path.with_name("twice.safetensors"), header)
    refuses(path.with_name("twice.safetensors"), "is a second diffusion_model.blocks.0.self_attn")


@every_component
@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_any_tensor_that_is_not_finite(component, value, tmp_path):
    tiny = tiny_component(component)
    metadata, tensors = tiny.metadata, tiny.tensors
    for key in list(tensors)[:: max(1, len(tensors) // 4)]:
        broken = {**tensors, key: tensors[key].clone()}
        broken[key].view(-1)[-1] = value
        path = tmp_path / "broken.safetensors"
        write_safetensors(path, broken, metadata.to_header())
        with pytest.raises(ValueError, match=r"broken\.safetensors: .* (not finite|alpha)"):
            read_component(path)


def test_integers_of_a_lora_are_not_read_as_if_they_were_weights(tmp_path):
    tiny = tiny_component(Component.LORA)
    metadata, tensors = tiny.metadata, tiny.tensors
    path = tmp_path / "int.safetensors"
    save_file({key: tensor.int() if "lora_" in key else tensor for key, tensor in tensors.items()}, path,
              metadata.to_header())  # fmt: skip
    with pytest.raises(ValueError, match="holds int32 numbers without a scale"):
        read_component(path)
