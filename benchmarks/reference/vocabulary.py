"""A byte-level BPE vocabulary, learned from the train split alone.

Sennrich et al. 2016 (merges), Radford et al. 2019 (bytes).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

PADDING, END, RESERVED = "<|padding|>", "<|endoftext|>", "<|reserved|>"
# In this order the ids are those of llama2.c: 1 begins and ends a text, byte b is token b + 3.
SPECIAL = (PADDING, END, RESERVED)


def learn(texts: Sequence[str], size: int) -> Tokenizer:
    """A tokenizer of `size` tokens that puts <|endoftext|> before a text."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learned.train_from_iterator(texts, trainer)
    merges = [tuple(pair) for pair in json.loads(learned.to_str())["model"]["merges"]]
    tokens = [*SPECIAL, *byte_symbols(), *map("".join, merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return dress(Tokenizer(models.BPE(vocab=vocabulary, merges=merges)))


def dress(tokenizer: Tokenizer) -> Tokenizer:
    """The same model with what comes before and after it."""
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END} $B", special_tokens=[(END, end)]
    )
    return tokenizer


def byte_symbols() -> list[str]:
    """The printable character that stands for each byte from 0 to 255 in a byte-level vocabulary."""
    # The bytes that print stand for themselves; the others take the characters after U+00FF in order.
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    moved = {byte: chr(256 + index) for index, byte in enumerate(others)}
    return [moved.get(byte, chr(byte)) for byte in range(256)]
