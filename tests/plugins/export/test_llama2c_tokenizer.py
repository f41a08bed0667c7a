from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordLevel
from tokenizers.normalizers import Prepend, Replace, Sequence
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from modelwright.errors import RecipeError
from modelwright.testing.texts import sentences
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.export.llama2c import ExportLlama2c
from modelwright_plugins.llama2c.tokenizer_file import write_tokenizer
from modelwright_plugins.llama2c.vocabulary import read_pieces
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import change_json, open_checkpoint

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


def parse(data: bytes) -> tuple[int, list[tuple[bytes, float]]]:
    """The longest length and the tokens, read as run.c reads them."""
    longest, at, pieces = struct.unpack("<I", data[:4])[0], 4, []
    while at < len(data):
        score, length = struct.unpack("<fi", data[at : at + 8])
        pieces.append((data[at + 8 : at + 8 + length], score))
        at += 8 + length
    return longest, pieces


def encode(pieces: list[tuple[bytes, float]], text: str) -> list[int]:
    """Token ids by run.c's method: characters, bytes where one is no token, then the best merge each time."""
    ids = {piece: index for index, (piece, _) in reversed([*enumerate(pieces)])}
    tokens: list[int] = []
    for character in text:
        found = ids.get(character.encode())
        tokens += [found] if found is not None else [byte + 3 for byte in character.encode()]
    while True:
        best, merged, place = -1e10, -1, -1
        for index in range(len(tokens) - 1):
            found = ids.get(pieces[tokens[index]][0] + pieces[tokens[index + 1]][0])
            if found is not None and pieces[found][1] > best:
                best, merged, place = pieces[found][1], found, index
        if place < 0:
            return tokens
        tokens[place : place + 2] = [merged]


def pieces_of(folder: Path, rows: int) -> tuple[list[tuple[bytes, float]], list[str]]:
    found, differences = read_pieces(folder, rows)
    write_tokenizer(folder / "tokenizer.bin", found)
    longest, pieces = parse((folder / "tokenizer.bin").read_bytes())
    assert longest == max(len(piece) for piece, _ in pieces)
    assert len(pieces) == rows
    return pieces, differences


def save(tokenizer: Tokenizer, folder: Path, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=600,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([*sentences(300), "naïve café, 12 × 34"], trainer)
    return tokenizer


def piecewise() -> Tokenizer:
    """A small Llama 2 tokenizer: three special tokens, 256 bytes, merged pieces in order, characters."""
    merges = [
        (SPACE, "t"), ("h", "e"), ("i", "n"), (f"{SPACE}t", "he"), ("in", "g"), (SPACE, "in"),
        (f"{SPACE}t", "h"), ("e", "r"),
    ]  # fmt: skip
    letters = [SPACE, *"abcdefghijklmnopqrstuvwxyz", "é"]
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    texts += [*("".join(pair) for pair in merges), *letters]
    vocabulary = {text: index for index, text in enumerate(texts)}
    tokenizer = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = Sequence([Prepend(SPACE), Replace(" ", SPACE)])
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in ("<unk>", "<s>", "</s>")])
    return tokenizer


def test_byte_level_tokens_are_raw_bytes(byte_level: Tokenizer, tmp_path: Path) -> None:
    size = byte_level.get_vocab_size()
    pieces, _ = pieces_of(save(byte_level, tmp_path / "model"), size)
    for index, (piece, _) in enumerate(pieces[1:], 1):
        # A token that is a part of a character decodes to U+FFFD.
        assert byte_level.decode([index]) == piece.decode(errors="replace")
    assert {bytes([byte]) for byte in range(256)} <= {piece for piece, _ in pieces}
    assert pieces[0] == (b"<|endoftext|>", pytest.approx(-1e11))


def test_merging_by_score_gives_the_tokens_of_byte_level_bpe(byte_level: Tokenizer, tmp_path: Path) -> None:
    pieces, _ = pieces_of(save(byte_level, tmp_path / "model"), byte_level.get_vocab_size())
    words = {word for text in sentences(100, seed=5) for word in text.split()}
    assert len(words) > 40
    merged = 0
    for word in words:
        for text in (word, f" {word}"):
            expected = byte_level.encode(text).ids
            assert encode(pieces, text) == expected
            merged += len(text) - len(expected)
    assert merged > 100


def test_byte_level_differences_are_told(byte_level: Tokenizer, tmp_path: Path) -> None:
    _, differences = pieces_of(save(byte_level, tmp_path / "model"), byte_level.get_vocab_size())
    assert differences == [
        "run.c stops at token 1 and at no other",
        "run.c begins every text with token 1; this tokenizer with none",
        "run.c puts a space before every text",
        "run.c merges across words; this tokenizer cuts the text into words first",
        "run.c takes a character that is no token for bytes whose ids are their values + 3, which is not so "
        "here: prompts beyond ASCII come out wrong",
    ]


def test_pieces_are_written_as_llama2_c_writes_them(tmp_path: Path) -> None:
    folder = save(piecewise(), tmp_path / "model", bos_token_id=1, eos_token_id=2)
    pieces, differences = pieces_of(folder, 300)
    assert [piece for piece, _ in pieces[:4]] == [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"<0x00>"]
    assert pieces[258][0] == b"<0xFF>"
    assert pieces[259:264] == [(b" t", 0.0), (b"he", -1.0), (b"in", -2.0), (b" the", -3.0), (b"ing", -4.0)]
    assert pieces[267][0] == b" "
    assert pieces[299][0] == b"[PAD299]"
    assert all(score < -1e10 for piece, score in pieces if len(piece) == 1)
    assert differences == ["run.c stops at token 1 and at no other"]


def test_merging_by_score_gives_the_tokens_of_pieces(tmp_path: Path) -> None:
    tokenizer = piecewise()
    pieces, _ = pieces_of(save(tokenizer, tmp_path / "model"), tokenizer.get_vocab_size())
    for text in ("the thing in there", "inner ether", "café 12 × 3", "singing  the"):
        # run.c's begin token and the space it puts before a text are this tokenizer's.
        assert [1, *encode(pieces, f" {text}")] == tokenizer.encode(text).ids


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = save(Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")), tmp_path / "model")
    with pytest.raises(RecipeError, match=r"no such tokenizer\. Its model is WordLevel") as caught:
        read_pieces(folder, 2)
    assert "tokenizer_bin" in (caught.value.hint or "")


def test_bpe_over_characters_is_refused(tmp_path: Path) -> None:
    folder = save(Tokenizer(BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])), tmp_path / "model")
    with pytest.raises(RecipeError, match="neither byte-level nor falls back to bytes"):
        read_pieces(folder, 3)


def test_a_tokenizer_of_another_model_is_refused(byte_level: Tokenizer, tmp_path: Path) -> None:
    folder = save(byte_level, tmp_path / "model")
    largest = byte_level.get_vocab_size() - 1
    with pytest.raises(RecipeError, match=f"ids up to {largest}, and the model embeds 300"):
        read_pieces(folder, 300)


def test_without_a_tokenizer_the_model_is_written_alone(tmp_path: Path) -> None:
    folder = write_tiny_causal(tmp_path / "checkpoint")
    (folder / "tokenizer.json").unlink()
    result = FolderContext(tmp_path / "run").apply(ExportLlama2c(), open_checkpoint(folder))
    assert (result.path / "model.bin").is_file()
    assert not (result.path / "tokenizer.bin").exists()


def test_a_tokenizer_that_cannot_be_written_can_be_left_out(tmp_path: Path) -> None:
    folder = write_tiny_causal(tmp_path / "checkpoint")
    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    change_json(folder / "tokenizer_config.json", bos_token=None, eos_token=None)
    with pytest.raises(RecipeError, match="WordLevel"):
        FolderContext(tmp_path / "one").apply(ExportLlama2c(), open_checkpoint(folder))
    result = FolderContext(tmp_path / "two").apply(
        ExportLlama2c(tokenizer_bin=False), open_checkpoint(folder)
    )
    assert not (result.path / "tokenizer.bin").exists()
