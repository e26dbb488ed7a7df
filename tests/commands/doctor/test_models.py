"""Missing, torn and wrong models, in made-up installations with tiny real files."""

from __future__ import annotations

import json
import re

import pytest
import torch

from exo2ego.commands.comfyui.known_nodes import MODEL_INPUTS
from exo2ego.commands.doctor.known_models import KNOWN
from exo2ego.commands.doctor.workflows import shipped_workflows
from support.tiny_gguf import write_gguf
from support.tiny_wan import egox_lora_state_dict, wan_state_dict

from .conftest import BASE, BASE_22, DISTILLED, LORA, ROOT

EGOX = ("--workflow", "egox_take")
SYN = ("--workflow", "exo2egosyn")


def only(findings, text):
    """The one finding that says something."""
    (found,) = [finding for finding in findings if text in finding["found"]]
    assert found["expected"]
    assert found["remedy"]
    return found


def test_nothing_is_wrong_with_a_complete_installation(complete):
    report = complete.visit()
    assert report["exit"] == 0
    assert report["counts"]["error"] == 0
    assert {finding["check"] for finding in report["findings"]} <= {"memory", "versions"}
    assert report["facts"]["workflows"].split(", ") == list(shipped_workflows(ROOT).names)


def test_a_fresh_installation_misses_what_can_be_had(empty):
    """EgoX's five files are errors; parts that nobody has published are one note."""
    report = empty.visit()
    assert report["exit"] == 1
    found = [finding for finding in report["findings"] if finding["check"] == "models"]
    assert [finding["severity"] for finding in found].count("error") == 5
    (note,) = [finding for finding in found if finding["severity"] == "note"]
    assert note["found"] == "not set up, so not checked: egox, egox_fast, exo2egosyn, people, vawan"
    assert "Parts of exo2egosyn and vawan have not been published: a training run makes them." in note["remedy"]
    assert not [finding for finding in found if finding is not note and "exo2egosyn" in finding["found"]]


def test_an_empty_installation_misses_every_model_of_the_workflows(empty):
    every = [option for name in shipped_workflows(ROOT).names for option in ("--workflow", name)]
    report = empty.visit(*every)
    assert report["exit"] == 1
    missing = [finding for finding in report["findings"] if finding["check"] == "models"]
    wanted = shipped_workflows(ROOT).wanted
    assert len(missing) == len(wanted) > 10
    for model in wanted:
        finding = only(missing, f"{model.file} is missing")
        assert finding["severity"] == ("warning" if model.known.optional else "error")
        assert f"{model.known.gigabytes:g} GB in models/{model.folders[0]}" in finding["expected"]
        assert str(empty.root / "models" / model.folders[0]) in finding["remedy"]


def test_every_model_that_a_workflow_loads_is_known():
    """Inputs with a model's suffix are loaders' inputs; a loader that is forgotten in the table fails here."""
    for path in (ROOT / "workflows" / "api").glob("*.json"):
        for node in json.loads(path.read_text()).values():
            for name, value in node["inputs"].items():
                if isinstance(value, str) and value.endswith((".safetensors", ".gguf", ".pth")):
                    assert (node["class_type"], name) in MODEL_INPUTS
    models = shipped_workflows(ROOT).wanted
    assert {re.sub(r"-\d{5}-of-\d{5}", "", model.file) for model in models} == set(KNOWN)


@pytest.mark.parametrize("name", ["1_pocket", "pocket_exo2egosyn"])
def test_what_comes_with_the_pack_is_not_looked_for(name):
    shipped = shipped_workflows(ROOT)
    assert name in shipped.names
    assert shipped.of(name) == []


def test_the_readme_lists_the_same_models():
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Models")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    listed = {}
    for file, folder, size in rows[2:]:
        for name in re.findall(r"`([\w.{},-]+\.safetensors|[\w-]+/[\w.-]+)`", file):
            if name.split("/")[-1] in KNOWN:
                listed[name.split("/")[-1]] = (folder.strip("`").split("/")[0], float(size.split()[0]))
    expected = {
        re.sub(r"-\d{5}-of-\d{5}", "", model.file): (model.folders[0], model.known.gigabytes)
        for model in shipped_workflows(ROOT).wanted
    }
    assert listed == expected


def test_another_file_of_the_same_kind_will_do(complete):
    base = complete.folder("diffusion_models")
    (base / "mine").mkdir()
    (base / BASE).rename(base / "mine" / "wan2.1_i2v_720p.safetensors")
    report = complete.visit(*EGOX)
    assert report["exit"] == 0
    finding = only(report["findings"], f"{BASE} is missing")
    assert finding["severity"] == "note"
    assert "mine/wan2.1_i2v_720p.safetensors is Wan 2.1 I2V" in finding["found"]
    assert "choose it in the node 'Base model'" in finding["remedy"]


def test_a_gguf_stands_in_from_the_older_folder(complete):
    (complete.folder("diffusion_models") / BASE).unlink()
    write_gguf(complete.folder("unet") / "wan2.1-i2v-14b-480p-Q4_K_M.gguf", wan_state_dict())
    report = complete.visit(*EGOX)
    assert report["exit"] == 0
    finding = only(report["findings"], f"{BASE} is missing")
    assert "Unet Loader (GGUF)" in finding["remedy"]
    complete.save("loras", LORA, egox_lora_state_dict(dim=512))
    assert complete.findings("lora keys", *EGOX)


def test_the_fast_workflow_is_set_up_where_its_second_lora_is(complete):
    assert "egox_fast" in complete.visit()["facts"]["workflows"].split(", ")
    (complete.folder("loras") / DISTILLED).unlink()
    report = complete.visit()
    assert report["exit"] == 0
    assert "egox_fast" not in report["facts"]["workflows"].split(", ")
    assert "egox_take" in report["facts"]["workflows"].split(", ")
    finding = only(complete.visit("--workflow", "egox_fast")["findings"], f"{DISTILLED} is missing")
    assert finding["severity"] == "error"
    assert "0.74 GB in models/loras" in finding["expected"]
    assert "lightx2v" in finding["remedy"]
    assert "Apache 2.0" in finding["remedy"]


def test_a_stock_loaders_lora_is_not_held_against_egoxs_keys(complete):
    """It holds differences of biases, norms and modulations, which EgoX LoRA Loader would refuse."""
    assert complete.findings("lora keys", "--workflow", "egox_fast") == []
    assert complete.findings("lora keys", "--workflow", "egox_fast", "--lora", DISTILLED)


def test_the_two_loras_do_not_stand_in_for_each_other(complete, tiny_files):
    fast = ("--workflow", "egox_fast")
    for gone in (DISTILLED, LORA):
        (complete.folder("loras") / gone).unlink()
        assert only(complete.findings("models", *fast), f"{gone} is missing")["severity"] == "error"
        (complete.folder("loras") / gone).symlink_to(tiny_files["loras", gone])
    name = "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors"
    (complete.folder("loras") / DISTILLED).rename(complete.folder("loras") / name)
    assert only(complete.findings("models", *fast), f"{DISTILLED} is missing")["severity"] == "note"


@pytest.mark.parametrize("kind", ["t2v", "i2v_2.2", "fun_control", "vace", "camera", "flf2v"])
def test_wrong_base_under_the_right_name(complete, kind):
    complete.save("diffusion_models", BASE, wan_state_dict(kind))
    (finding,) = complete.findings("models", *EGOX)
    assert finding["severity"] == "error"
    assert "Wan" in finding["found"]
    assert finding["expected"] == "Wan 2.1 I2V (it takes CLIP features)"
    assert "wan2.1_i2v_480p_14B" in finding["remedy"]


def test_wan_21_where_22_belongs(complete):
    complete.save("diffusion_models", BASE_22, wan_state_dict("i2v"))
    finding = only(complete.findings("models", *SYN), f"{BASE_22} in")
    assert "is Wan 2.1 I2V" in finding["found"]
    assert finding["severity"] == "error"
    assert "low-noise expert" in finding["remedy"]


def test_the_high_noise_expert_does_not_stand_in(complete):
    base = complete.folder("diffusion_models")
    (base / BASE_22).rename(base / "Wan2.2-I2V-A14B-HighNoise.safetensors")
    finding = only(complete.findings("models", *SYN), f"{BASE_22} is missing")
    assert finding["severity"] == "error"
    assert "Wan2.2-I2V-A14B-HighNoise.safetensors (Wan 2.2's high-noise expert, by its name)" in finding["found"]


def test_a_text_to_video_model_is_named_where_the_base_is_missing(complete):
    (complete.folder("diffusion_models") / BASE).unlink()
    complete.save("diffusion_models", "wan2.1_t2v_14B.safetensors", wan_state_dict("t2v"))
    finding = only(complete.findings("models", *EGOX), f"{BASE} is missing")
    assert finding["severity"] == "error"
    assert "wan2.1_t2v_14B.safetensors (a Wan text-to-video model" in finding["found"]


@pytest.mark.parametrize(
    ("kind", "name", "other", "said"),
    [
        ("vae", "wan_2.1_vae.safetensors", ("clip_vision", "clip_vision_h.safetensors"), "image encoder"),
        ("clip_vision", "clip_vision_h.safetensors", ("vae", "wan_2.1_vae.safetensors"), "Wan 2.1's VAE"),
        ("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors", ("loras", LORA), "a LoRA for Wan"),
        ("loras", LORA, ("exo2egosyn", "exo2egosyn_lora.safetensors"), "Exo2EgoSyn's lora"),
    ],
)
def test_files_in_each_others_places(complete, tiny_files, kind, name, other, said):
    path = complete.folder(kind) / name
    path.unlink()
    path.symlink_to(tiny_files[other])
    finding = only(complete.findings("models", *EGOX), f"{name} in")
    assert said in finding["found"]
    assert finding["severity"] == "error"


def test_an_unknown_model_is_a_warning(complete):
    complete.save("diffusion_models", BASE, {"something": torch.zeros(2)})
    (finding,) = complete.findings("models", *EGOX)
    assert finding["severity"] == "warning"


@pytest.mark.parametrize("name", [BASE, "umt5_xxl_fp8_e4m3fn_scaled.safetensors"])
def test_a_half_downloaded_model(complete, cut, name):
    kind = "diffusion_models" if name == BASE else "text_encoders"
    cut(complete.folder(kind) / name, 0.6)
    (finding,) = complete.findings("models", *EGOX)
    assert finding["severity"] == "error"
    assert "half-downloaded" in finding["found"]
    assert "(60%)" in finding["found"] or "(59%)" in finding["found"]
    assert "download it again" in finding["remedy"]


def test_a_download_in_progress(complete):
    base = complete.folder("diffusion_models")
    (base / BASE).unlink()
    (base / f"{BASE}.part").write_bytes(b"x" * 1000)
    finding = only(complete.findings("models", *EGOX), f"{BASE} is missing")
    assert "unfinished download" in finding["found"]
    assert finding["severity"] == "error"
    assert f"{BASE}.part" in finding["remedy"]


def test_torn_files_that_no_workflow_names_are_warnings(complete):
    (complete.folder("diffusion_models") / "other.safetensors").write_bytes(b"<!DOCTYPE html><title>Log in</title>")
    (complete.folder("loras") / "some_style.safetensors").write_bytes(b"")  # LoRAs of others are not looked at
    report = complete.visit(*EGOX)
    assert report["exit"] == 0
    finding = only(report["findings"], "other.safetensors")
    assert finding["severity"] == "warning"
    assert "web page" in finding["found"]
    assert not [found for found in report["findings"] if "some_style" in found["found"]]


def test_only_the_workflows_in_use_are_checked(complete):
    for path in complete.folder("exo2egosyn").iterdir():
        path.unlink()
    report = complete.visit()
    assert report["exit"] == 0
    finding = only(report["findings"], "not set up, so not checked: exo2egosyn, vawan")
    assert finding["severity"] == "note"
    assert "--workflow exo2egosyn" in finding["remedy"]
    assert complete.visit(*SYN)["exit"] == 1


def test_depth_pro_is_optional(complete):
    (complete.folder("depth_pro") / "DepthPro-hf" / "config.json").unlink()
    report = complete.visit("--workflow", "egox")
    assert report["exit"] == 0
    finding = only(report["findings"], "lacks config.json")
    assert finding["severity"] == "warning"
    assert "apple/DepthPro-hf" in finding["remedy"]
    assert [found["check"] for found in report["findings"] if "pack for depth" in found["found"]] == ["other packs"]


def test_an_unknown_workflow_cannot_be_checked(complete, capsys):
    from exo2ego.commands.doctor.cli import main

    assert main(["--workflow", "egoy"], pack=complete.pack) == 2
    assert "egox_take" in capsys.readouterr().err


PEOPLE = ("--workflow", "people")


@pytest.mark.parametrize(
    ("kind", "name", "optional", "address"),
    [
        ("people", "rtdetr_r50vd_coco_o365", False, "PekingU/rtdetr_r50vd_coco_o365"),
        ("people", "vitpose-base-simple", False, "usyd-community/vitpose-base-simple"),
        ("people", "sam2.1-hiera-tiny", True, "facebook/sam2.1-hiera-tiny"),
        ("vlm", "Qwen3-VL-2B-Instruct", True, "Qwen/Qwen3-VL-2B-Instruct"),
    ],
)
def test_what_looks_at_clips_is_listed_with_folder_size_and_address(complete, kind, name, optional, address):
    assert complete.visit(*PEOPLE)["exit"] == 0
    folder = complete.folder(kind) / name
    (folder / "preprocessor_config.json").unlink()
    report = complete.visit(*PEOPLE)
    assert report["exit"] == (not optional)
    finding = only(report["findings"], f"{name} is missing")
    assert "lacks preprocessor_config.json" in finding["found"]
    assert finding["severity"] == ("warning" if optional else "error")
    assert f"GB in models/{kind}, for people" in finding["expected"]
    assert address in finding["remedy"]
    assert str(folder) in finding["remedy"]


def test_a_folder_with_another_network_is_told(complete):
    folder = complete.folder("people") / "vitpose-base-simple"
    (folder / "config.json").write_text('{"model_type": "depth_pro"}')
    finding = only(complete.visit(*PEOPLE)["findings"], "holds another network")
    assert finding["expected"] == "ViTPose"
    assert "usyd-community/vitpose-base-simple" in finding["remedy"]


def test_weights_in_shards_are_looked_at_one_by_one(complete, cut):
    folder = complete.folder("vlm") / "Qwen3-VL-2B-Instruct"
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    finding = only(complete.visit(*PEOPLE)["findings"], "Qwen3-VL-2B-Instruct is missing")
    assert "lacks model-00002-of-00002.safetensors" in finding["found"]
    first = folder / "model-00001-of-00002.safetensors"
    (folder / "model-00002-of-00002.safetensors").write_bytes(first.read_bytes())
    assert complete.visit(*PEOPLE)["exit"] == 0
    cut(first, 0.5)
    finding = only(complete.visit(*PEOPLE)["findings"], "Qwen3-VL-2B-Instruct is missing")
    assert "model-00001-of-00002.safetensors:" in finding["found"]
