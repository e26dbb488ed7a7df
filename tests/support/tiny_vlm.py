"""A vision-language model (LLaVA) far below its real size, which has learned two answers by heart.

It tells a dark picture from a bright one, and answers in the form of the pack's instruction: so what comes out of a
node shows that pictures and request went in, and that the answer was taken apart.
"""

from __future__ import annotations

from pathlib import Path

import torch

FORM = (
    "[Exo view]\n**Scene Overview:** {0}\n**Action Analysis:** {1}\n\n"
    "[Ego view]\n**Scene Overview:** {2}\n**Action Analysis:** {3}"
)
DARK = ("A dim cellar.", "A man lifts a crate.", "Shelves on both sides.", "Both hands grip the crate.")
BRIGHT = ("A sunny yard.", "A girl waters plants.", "Pots stand below.", "One hand tilts a can.")
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}{{ '\\nANSWER\\n' }}"
)
_SIDE, _PATCH = 32, 16
_STEPS = 300


def save_tiny_vlm(folder: Path, request: str = "", *, taught: bool = True, template: str | None = TEMPLATE) -> Path:
    """Save a LLaVA of 1 MB with its processor.

    Args:
        folder: where.
        request: what it learns to answer.
        taught: whether it learns; otherwise it babbles.
        template: of the chat; None for none.
    """
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    torch.manual_seed(0)
    tokenizer = _tokenizer()
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=_SIDE,
            patch_size=_PATCH, projection_dim=32,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2,
            pad_token_id=0,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    processor = LlavaProcessor(
        CLIPImageProcessor(
            size={"shortest_edge": _SIDE},
            crop_size={"height": _SIDE, "width": _SIDE},
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        ),
        tokenizer,
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    )
    if taught:
        _teach(model, processor, request)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer():
    """Whole lines of the two answers, and their ends; any other line is one and the same token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(r"\n|[^\n]+"), behavior="isolated")
    pieces = [piece for answer in (DARK, BRIGHT) for piece, _ in split.pre_tokenize_str(FORM.format(*answer))]
    names = ["<pad>", "<s>", "</s>", "<unk>", "<image>", *dict.fromkeys(pieces)]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.Fuse()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=["<image>"],
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **special,
    )


def _teach(model, processor, request: str) -> None:
    """Teach the two answers to two pictures, a dark one and a bright one."""
    from PIL import Image

    text = processor.apply_chat_template(
        [{"role": "user", "content": [*[{"type": "image"}] * 2, {"type": "text", "text": request}]}]
    )
    answers = [FORM.format(*answer) + "</s>" for answer in (DARK, BRIGHT)]
    pictures = [Image.new("RGB", (_SIDE, _SIDE), (shade,) * 3) for shade in (30, 30, 220, 220)]
    inputs = processor(text=[text + answer for answer in answers], images=pictures, return_tensors="pt", padding=True)
    start = len(processor(text=[text], images=pictures[:2])["input_ids"][0])
    labels = inputs["input_ids"].clone()
    labels[:, :start] = -100
    labels[labels == 0] = -100
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        if loss < 0.01:
            return
    raise AssertionError(f"the tiny model has not learned its answers: {float(loss):.3f} after {_STEPS} steps")
