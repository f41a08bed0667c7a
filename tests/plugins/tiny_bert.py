"""A tiny BERT with a tokenizer of its own, written as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from modelwright.api.model import Model

TEXT = (
    "return open read write close file path name value list dict the a of an to from is in for with and "
    "when not that this each item string number index error raise call object class method function"
)
WORDS = TEXT.split(" ")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Texts of 3 to 30 words."""
    import random

    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 30))) for _ in range(count)]


def save_tiny_bert(folder: Path, *, labels: tuple[str, ...] = (), seed: int = 0) -> Model:
    """Write an embedding model, or a classifier when there are labels: hidden 32, 2 layers, 4 heads."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    from modelwright_plugins.format.torch import Torch

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    # Written out, because training a tokenizer gives another order of ids each time.
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({*WORDS, *letters}), *(f"##{x}" for x in letters)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        # Weights this large make attention and layers matter, as in a trained model.
        initializer_range=0.15,
        **({"id2label": dict(enumerate(labels)), "num_labels": len(labels)} if labels else {}),
    )
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config) if labels else BertModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases start at zero and would be folded away
                parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return Model(folder, Torch().describe(folder), "0" * 64)
