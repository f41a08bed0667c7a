"""A tiny BERT with a tokenizer of its own, written as a checkpoint folder; needs no torch."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelwright.api.model import Task
from modelwright.testing.texts import LABELS, sentences
from modelwright.testing.tiny_causal import write_tiny_causal

LAYERS, HIDDEN, HEADS, INNER, LENGTH = 2, 32, 4, 64, 64
# Weights this large make attention and layers matter, as in a trained model.
SPREAD = 0.15
# Biases of zero and norms of one would be folded away by whoever simplifies a graph.
SHIFT = 0.1
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tiny_model(folder: Path, task: Task = "embed", seed: int = 0) -> Path:
    """Write a checkpoint that `from_pretrained` loads: 2 layers, hidden 32, 4 heads, 64 tokens; returns it.

    >>> write_tiny_model(tmp_path / "tiny", "classify")

    An embedding model has sentence-transformers' pooling files (mean, normalized); a classifier has the
    labels `noun` and `verb`; a model that generates is the Llama of `write_tiny_causal`. Weights are float32
    in safetensors, drawn with `seed`.
    """
    from safetensors.numpy import save_file

    if task == "generate":
        return write_tiny_causal(folder, seed)

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder)
    tensors = _weights(vocabulary, task, np.random.default_rng(seed))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", _config(vocabulary, task))
    if task == "embed":
        _write_pooling(folder)
    return folder


def _write_tokenizer(folder: Path) -> int:
    """Write a WordPiece tokenizer and return the size of its vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    vocabulary = {text: index for index, text in enumerate(_vocabulary())}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {f"{text.strip('[]').lower()}_token": text for text in SPECIAL}
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": LENGTH, **named},
    )
    return len(vocabulary)


def _vocabulary() -> list[str]:
    """Special tokens, letters at a word's start and within, and the words of the texts.

    Learned by counting: the trainers of `tokenizers` break ties by the order of a hash map, so that two
    runs give two vocabularies, and a checkpoint for tests has to be the same bytes every time.
    """
    words = {word for text in sentences(400) for word in text.split()}
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    within = [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    return [*SPECIAL, *letters, *within, *sorted(words - set(letters))]


def _weights(vocabulary: int, task: Task, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """BERT's tensors by the names transformers gives them."""
    tensors: dict[str, NDArray[np.float32]] = {}

    def matrix(name: str, *shape: int) -> None:
        tensors[f"{name}.weight"] = (rng.standard_normal(shape) * SPREAD).astype(np.float32)

    def linear(name: str, inputs: int, outputs: int) -> None:
        matrix(name, outputs, inputs)
        tensors[f"{name}.bias"] = (rng.standard_normal(outputs) * SHIFT).astype(np.float32)

    def norm(name: str) -> None:
        for part, middle in (("weight", 1), ("bias", 0)):
            values = middle + rng.standard_normal(HIDDEN) * SHIFT
            tensors[f"{name}.{part}"] = values.astype(np.float32)

    prefix = "bert." if task == "classify" else ""
    matrix(f"{prefix}embeddings.word_embeddings", vocabulary, HIDDEN)
    matrix(f"{prefix}embeddings.position_embeddings", LENGTH, HIDDEN)
    matrix(f"{prefix}embeddings.token_type_embeddings", 2, HIDDEN)
    norm(f"{prefix}embeddings.LayerNorm")
    for index in range(LAYERS):
        layer = f"{prefix}encoder.layer.{index}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN)
        linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", HIDDEN, INNER)
        linear(f"{layer}.output.dense", INNER, HIDDEN)
        norm(f"{layer}.output.LayerNorm")
    linear(f"{prefix}pooler.dense", HIDDEN, HIDDEN)
    if task == "classify":
        linear("classifier", HIDDEN, len(LABELS))
    return tensors


def _config(vocabulary: int, task: Task) -> dict[str, object]:
    config: dict[str, object] = {
        "architectures": ["BertForSequenceClassification" if task == "classify" else "BertModel"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": LENGTH,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "pad_token_id": 0,
        "dtype": "float32",
    }
    if task == "classify":
        config["id2label"] = {str(index): label for index, label in enumerate(LABELS)}
        config["label2id"] = {label: index for index, label in enumerate(LABELS)}
    return config


def _write_pooling(folder: Path) -> None:
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": LENGTH, "do_lower_case": False})
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": HIDDEN,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_cls_token": False,
        },
    )


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
