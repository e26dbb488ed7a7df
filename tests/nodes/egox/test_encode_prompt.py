"""Encode Two-View Prompt over HTTP, against sentencepiece and transformers run on the same weights."""

from __future__ import annotations

import itertools
import json

import pytest
import sentencepiece
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from exo2ego.commands.comfyui.errors import ExecutionFailedError, PromptRejectedError
from support.graphs import Graph, only_outputs, with_inputs, with_node
from support.prompts import two_blocks
from support.standin_nodes.configs import UMT5_CONFIG
from support.tiny_models import FILES

LIMIT, END, PAD = 511, 1, 0
RUNS = itertools.count()
PARENTHESES = "the player (in orange) waits, the (blue:1.4) cup, ((both)) hands, a smile :) and (an open one"


@pytest.fixture(scope="module")
def weights(comfy_server):
    return load_file(comfy_server.base.joinpath("models", *FILES["clip"]))


@pytest.fixture(scope="module")
def tokenizer(weights):
    return sentencepiece.SentencePieceProcessor(model_proto=weights["spiece_model"].numpy().tobytes())


@pytest.fixture(scope="module")
def encoder(weights):
    """transformers' own umt5 encoder with the tiny weights, float32."""
    from transformers import UMT5Config, UMT5EncoderModel

    sizes = {**UMT5_CONFIG, "vocab_size": len(weights["shared.weight"])}
    config = UMT5Config(d_model=4096, feed_forward_proj="gated-gelu", pad_token_id=PAD, eos_token_id=END, **sizes)
    model = UMT5EncoderModel(config).eval()
    state = {name: value.float() for name, value in weights.items() if name != "spiece_model"}
    missing, unexpected = model.load_state_dict({**state, "encoder.embed_tokens.weight": state["shared.weight"]}, False)
    assert not missing
    assert not unexpected
    return model


@pytest.fixture
def long_prompt(tokenizer) -> str:
    return two_blocks(830, 465, lambda text: len(tokenizer.encode(text))) + f"\n{PARENTHESES}"


def witness_tokens(tokenizer, text: str) -> list[int]:
    """511 tokens, the end token, padding: as EgoX's release has them."""
    tokens = [*tokenizer.encode(" ".join(text.split()))[:LIMIT], END]
    return tokens + [PAD] * (LIMIT + 1 - len(tokens))


def encode_graph(text: str, fit: str | None = None, run: int = 0) -> Graph:
    inputs = {} if fit is None else {"fit": fit}
    graph = with_node({}, "1", "StandInCLIPLoader", "Text encoder", clip_name=FILES["clip"][1])
    graph = with_node(graph, "2", "StandInSpyTokens", "Spy", clip=["1", 0], filename=f"tokens_{run}.safetensors")
    graph = with_node(graph, "3", "Exo2EgoEncodePrompt", "Encode", clip=["2", 0], text=text, **inputs)
    graph = with_node(graph, "4", "StandInRecordText", "Record", conditioning=["3", 0], filename="text.safetensors")
    return with_node(graph, "5", "PreviewAny", "Report", source=["3", 1])


@pytest.fixture
def encode(comfy_server, comfy_client):
    """Run the node; returns token ids [L], vectors [1, L, 4096], the conditioning's options and the report."""

    def run(text: str, fit: str | None = None) -> tuple[list[int], torch.Tensor, dict, str]:
        output, number = comfy_server.base / "output", next(RUNS)  # a new file's name: nothing comes from the cache
        done = comfy_client.run(encode_graph(text, fit, number))
        with safe_open(output / "text.safetensors", "pt") as file:
            options = json.loads(file.metadata()["options"])
            vectors = file.get_tensor("vectors")
        (ids,) = load_file(output / f"tokens_{number}.safetensors")["tokens"].tolist()
        (report,) = done.outputs["5"]["text"]
        assert done.outputs["3"]["text"] == [report]
        return ids, vectors, options, report

    return run


@torch.inference_mode()
def encoded(encoder, tokens: list[int]) -> torch.Tensor:
    """The encoder's vectors [1, L, 4096], zero after the end token, where Wan sees nothing."""
    mask = torch.tensor([[int(index <= tokens.index(END)) for index in range(len(tokens))]])
    return encoder(input_ids=torch.tensor([tokens]), attention_mask=mask).last_hidden_state * mask[..., None]


def assert_close(vectors, expected):
    assert vectors.shape == expected.shape == (1, LIMIT + 1, 4096)
    assert (vectors - expected).abs().max() < 2e-3 * expected.abs().max()


def test_as_released(encode, tokenizer, encoder, long_prompt):
    """511 tokens and the end token reach the encoder, and what was cut leaves no trace in the vectors."""
    ids, vectors, options, report = encode(long_prompt, "as released")
    expected = witness_tokens(tokenizer, long_prompt)
    assert len(tokenizer.encode(long_prompt)) > LIMIT + 100
    assert ids == expected
    assert ids[-1] == END
    assert_close(vectors, encoded(encoder, expected))
    whole = encoded(encoder, [*tokenizer.encode(long_prompt), END])[:, : LIMIT + 1]
    assert (whole - vectors).abs().max() > 2e-2 * vectors.abs().max(), "a cut after the encoder would not be noticed"
    assert "cut off" in report
    assert options == {"pooled_output": None}


@pytest.mark.parametrize("fit", ["as released", "keep both views"])
@pytest.mark.parametrize("text", [PARENTHESES, "", "a\n\n  cup (e.g. steel)"])
def test_parentheses_are_text(encode, tokenizer, encoder, text, fit):
    ids, vectors, _, report = encode(text, fit)
    expected = witness_tokens(tokenizer, text)
    assert ids == expected
    assert_close(vectors, encoded(encoder, expected))
    assert f"{expected.index(END)} of 511 tokens" in report


def test_both_views_are_kept_by_default(encode, tokenizer, encoder, long_prompt):
    ids, vectors, _, report = encode(long_prompt)
    assert ids.index(END) <= LIMIT
    assert_close(vectors, encoded(encoder, ids))
    text = tokenizer.decode(ids[: ids.index(END)])
    before, after = (len(tokenizer.encode(" ".join(t[t.index("[Ego view]") :].split()))) for t in (long_prompt, text))
    assert after >= 2 / 3 * before
    assert f"[Ego view]: {after} of {before} tokens kept" in report
    assert "Left out of [Exo view]: " in report


def test_the_warning_is_logged_once_and_only_when_something_is_lost(encode, comfy_server, long_prompt):
    def warnings() -> int:
        return comfy_server.log.read_text(errors="replace").count("Exo2EgoEncodePrompt:")

    before = warnings()
    encode("a short prompt that fits")
    assert warnings() == before
    encode(f"{long_prompt} And one more cup.", "as released")
    assert warnings() == before + 1


@pytest.mark.parametrize("fit", ["as released", "keep both views"])
@pytest.mark.parametrize("n_tokens", [LIMIT, LIMIT + 1])
def test_a_prompt_at_the_limit(encode, tokenizer, encoder, fit, n_tokens):
    """511 tokens are kept whole, of 512 something is left out."""
    words = ["cup"]
    while len(tokenizer.encode(" ".join(words))) < n_tokens:
        words.append("a" if len(tokenizer.encode(" ".join([*words, "cup"]))) > n_tokens else "cup")
    text = " ".join(words)
    assert len(tokenizer.encode(text)) == n_tokens
    ids, _, _, report = encode(text, fit)
    assert ids.index(END) <= LIMIT
    assert ("Nothing is left out" in report) == (n_tokens == LIMIT)
    if n_tokens == LIMIT or fit == "as released":
        assert ids == witness_tokens(tokenizer, text)


def test_an_unknown_fit_is_refused(comfy_client):
    """ComfyUI 0.3.75 itself does not compare it with the list."""
    with pytest.raises(PromptRejectedError, match="'fit' takes one of 'keep both views', 'as released'; got 'both'"):
        comfy_client.run(encode_graph("a cup", "both"))


def test_another_text_encoder_is_refused(comfy_client):
    graph = with_node(encode_graph("a cup"), "6", "StandInOtherCLIP", "Other encoder")
    graph = with_inputs(graph, "Encode", clip=["6", 0])
    with pytest.raises(ExecutionFailedError, match=r"are of: l\..*type wan"):
        comfy_client.run(only_outputs(graph, "Report"))
