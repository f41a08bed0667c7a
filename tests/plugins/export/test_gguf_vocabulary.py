from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as pre

from modelwright.errors import RecipeError, StageError
from modelwright_plugins.gguf.pretokenizer import _NAMES
from modelwright_plugins.gguf.verify import TEXTS, verify_tokens
from modelwright_plugins.gguf.vocabulary import Vocabulary, read_vocabulary

pytest.importorskip("gguf", reason="needs the gguf extra")

END = "<|end|>"
SAME = {"compared": len(TEXTS), "differing": []}
NAMES = {name: key for key, name in _NAMES.items()}
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    """Code and the texts to compare, so that many merges apply to them."""
    code = Path(sys.modules["json"].__file__ or "").read_text() + Path(__file__).read_text()
    return [*(text * 3 for text in TEXTS), *code.splitlines(keepends=True)]


def byte_level(corpus: list[str], name: str) -> Tokenizer:
    """A byte-level BPE whose pre-tokenizer is written as models with that name have it."""
    steps, whole = NAMES[name]
    parts: list[Any] = []
    for step in steps:
        if step == "byte-level words":
            parts.append(pre.ByteLevel(add_prefix_space=False))
        elif step == "single digits":
            parts.append(pre.Digits(individual_digits=True))
        else:
            parts += [
                pre.Split(Regex(step), "isolated"),
                pre.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
    tokenizer = Tokenizer(models.BPE(ignore_merges=whole))
    tokenizer.pre_tokenizer = pre.Sequence(parts) if len(parts) > 1 else parts[0]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=1200,
            special_tokens=[END, "<|start|>"],
            initial_alphabet=pre.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def pieces(corpus: list[str], *, prefix: bool) -> Tokenizer:
    """BPE over pieces with every split of each piece listed, as a converter from SentencePiece writes it."""
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [normalizers.Prepend(SPACE)] if prefix else []
    trained.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    special = ["<unk>", "<s>", "</s>"]
    in_bytes = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=[*special, *in_bytes], show_progress=False)
    trained.train_from_iterator(corpus, trainer)
    written = json.loads(trained.to_str())
    vocabulary = written["model"]["vocab"]
    written["model"]["merges"] = [
        [piece[:cut], piece[cut:]]
        for piece in sorted(vocabulary, key=lambda piece: int(vocabulary[piece]))
        if piece not in {*special, *in_bytes}
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    written["added_tokens"] = [token for token in written["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(written))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


def read(tokenizer: Tokenizer, folder: Path, rows: int | None = None, name: str | None = None) -> Vocabulary:
    tokenizer.save(str(folder / "tokenizer.json"))
    return read_vocabulary(folder, rows or tokenizer.get_vocab_size(), name, "stages.export.pre_tokenizer")


def write(vocabulary: Vocabulary, file: Path) -> Path:
    """A GGUF file with the vocabulary and no weights, which is what llama.cpp needs to tokenize."""
    from gguf import GGUFWriter

    writer = GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    vocabulary.write(writer)
    if vocabulary.bos is not None:
        writer.add_bos_token_id(vocabulary.bos)
    if vocabulary.eos is not None:
        writer.add_eos_token_id(vocabulary.eos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return file


@pytest.mark.parametrize("name", NAMES)
def test_llama_cpp_gives_the_same_ids_with_byte_level_bpe(
    name: str, corpus: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    tokenizer = byte_level(corpus, name)
    if name == "llama-bpe":
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{END} $A", special_tokens=[(END, 0)]
        )
    vocabulary = read(tokenizer, tmp_path, tokenizer.get_vocab_size() + 7)
    assert (vocabulary.model, vocabulary.pre) == ("gpt2", name)
    assert vocabulary.bos == (0 if name == "llama-bpe" else None)
    assert verify_tokens(write(vocabulary, tmp_path / "model.gguf"), tmp_path) == SAME


@pytest.mark.parametrize("prefix", [True, False])
def test_llama_cpp_gives_the_same_ids_with_pieces(prefix: bool, corpus: list[str], tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    vocabulary = read(pieces(corpus, prefix=prefix), tmp_path)
    assert (vocabulary.model, vocabulary.bos, vocabulary.eos) == ("llama", 1, 2)
    assert vocabulary.space_prefix is prefix
    assert verify_tokens(write(vocabulary, tmp_path / "model.gguf"), tmp_path) == SAME


def test_what_llama_cpp_would_cut_otherwise_is_an_error_or_listed(corpus: list[str], tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    vocabulary = read(byte_level(corpus, "gpt-2"), tmp_path, name="qwen2")
    assert vocabulary.pre == "qwen2"
    file = write(vocabulary, tmp_path / "model.gguf")
    with pytest.raises(StageError, match="would cut a text otherwise than") as caught:
        verify_tokens(file, tmp_path)
    assert "pre-tokenizer" in str(caught.value.hint)
    found = verify_tokens(file, tmp_path, named=True)
    assert TEXTS[0] in found["differing"]  # type: ignore[operator]
    assert "" not in found["differing"]  # type: ignore[operator]


def test_a_pre_tokenizer_that_llama_cpp_does_not_have_is_an_error(corpus: list[str], tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    vocabulary = read(byte_level(corpus, "gpt-2"), tmp_path, name="no-such-one")
    with pytest.raises(StageError, match="does not load the vocabulary"):
        verify_tokens(write(vocabulary, tmp_path / "model.gguf"), tmp_path, named=True)


def test_types_and_padding_of_tokens(corpus: list[str], tmp_path: Path) -> None:
    from gguf import TokenType

    tokenizer = byte_level(corpus, "gpt-2")
    size = tokenizer.get_vocab_size()
    vocabulary = read(tokenizer, tmp_path, size + 2)
    kinds = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    assert kinds[END] == kinds["<|start|>"] == TokenType.CONTROL
    assert kinds["<tool>"] == TokenType.USER_DEFINED
    assert kinds["def"] == TokenType.NORMAL
    assert vocabulary.tokens[size:] == [f"[PAD{size}]", f"[PAD{size + 1}]"]
    assert list(vocabulary.types[size:]) == [TokenType.UNUSED] * 2
    assert len(vocabulary.merges) == len(json.loads(tokenizer.to_str())["model"]["merges"])


def test_a_tokenizer_larger_than_the_model_is_refused(corpus: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gives ids up to \d+, and the model embeds 100 \(0 to 99\)"):
        read(byte_level(corpus, "gpt-2"), tmp_path, 100)


def test_an_unknown_pre_tokenizer_is_refused_and_can_be_named(corpus: list[str], tmp_path: Path) -> None:
    tokenizer = byte_level(corpus, "qwen2")
    tokenizer.pre_tokenizer = pre.Sequence(
        [pre.Split(Regex("[a-z]+"), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    with pytest.raises(RecipeError, match=r"does not know a name of llama.cpp's for: \[a-z\]\+") as caught:
        read(tokenizer, tmp_path)
    assert "qwen2" in str(caught.value.accepted)
    assert "stages.export.pre_tokenizer" in str(caught.value.hint)
    assert read(tokenizer, tmp_path, name="falcon").pre == "falcon"


def unlisted_split(tokenizer: dict[str, Any]) -> None:
    tokenizer["model"]["merges"].pop()


def out_of_order(tokenizer: dict[str, Any]) -> None:
    merges = tokenizer["model"]["merges"]
    index = next(i for i, (a, b) in enumerate(merges) if a + b == "".join(merges[i + 1]))
    merges.append(merges.pop(index))


def splitting(tokenizer: dict[str, Any]) -> None:
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (unlisted_split, "is not merged from"),
        (out_of_order, "are not listed together"),
        (splitting, "A step of it is Whitespace"),
    ],
)
def test_pieces_that_scores_cannot_merge_alike_are_refused(
    spoil: Callable[[dict[str, Any]], None], words: str, corpus: list[str], tmp_path: Path
) -> None:
    tokenizer = json.loads(pieces(corpus, prefix=True).to_str())
    spoil(tokenizer)
    with pytest.raises(RecipeError, match=words):
        read(Tokenizer.from_str(json.dumps(tokenizer)), tmp_path)


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    with pytest.raises(RecipeError, match="Its model is WordPiece") as caught:
        read(tokenizer, tmp_path)
    assert caught.value.accepted == "BPE"


def test_a_text_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="has no fast tokenizer"):
        read_vocabulary(tmp_path, 10, None, "")
