"""Texts for tests: seeded, offline, with every column a data set can have."""

from __future__ import annotations

import json
import random
from pathlib import Path

LABELS = ("noun", "verb")
_WORDS = {
    "noun": "file path name value list item string number index error object class method function",
    "verb": "return open read write close raise call sort copy build parse split join measure",
}
_SMALL = "the a of an to from is in for with and when not that this each"


def sentences(count: int, seed: int = 0) -> list[str]:
    """Texts of 3 to 30 words, all different."""
    return [text for text, _ in _labelled(count, seed)]


def write_texts(file: Path, count: int = 400, seed: int = 0) -> Path:
    """Write JSON Lines with the columns `text`, `query`, `passage` and `label`; returns the file.

    >>> write_texts(tmp_path / "texts.jsonl")

    The label says which words a text is made of, so that it can be learned.
    """
    rows = (
        {"text": text, "query": " ".join(text.split()[:4]), "passage": text, "label": label}
        for text, label in _labelled(count, seed)
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _labelled(count: int, seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        label = LABELS[len(found) % 2]
        words = f"{_WORDS[label]} {_SMALL}".split()
        found[" ".join(rng.choices(words, k=rng.randint(3, 30)))] = label
    return list(found.items())
