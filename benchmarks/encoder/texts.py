"""Real English that every machine has: the standard library's docstrings, as token ids for all contenders."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

EVALUATED = 240
CALIBRATED = 300
MAX_LENGTH = 256
GRID = tuple((batch, length) for batch in (1, 16) for length in (32, 128, 256))


class Tokens(NamedTuple):
    """Files of token ids: what quality is measured on, what peers calibrate on, what is timed."""

    evaluation: Path
    calibration: Path
    timing: Path


def docstrings() -> list[str]:
    """Distinct docstrings of 80 to 1,500 characters, in the order of the files they stand in."""
    found: dict[str, None] = {}
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if 80 < len(text) < 1500:
                    found[text] = None
    return list(found)


def write_tokens(model: Path, folder: Path, seed: int = 0) -> Tokens:
    """Write token ids of disjoint docstrings to evaluate and calibrate on, and random ids to time."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = Tokens(folder / "evaluation.npz", folder / "calibration.npz", folder / "timing.npz")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.enable_padding()
    generator = np.random.default_rng(seed)
    texts = docstrings()
    drawn = [texts[index] for index in generator.permutation(len(texts))[: EVALUATED + CALIBRATED]]
    for path, part in ((tokens.evaluation, drawn[:EVALUATED]), (tokens.calibration, drawn[EVALUATED:])):
        rows = sorted(tokenizer.encode_batch(part), key=lambda row: sum(row.attention_mask))
        np.savez(
            path,
            input_ids=np.array([row.ids for row in rows], np.int64),
            attention_mask=np.array([row.attention_mask for row in rows], np.int64),
        )
    size = tokenizer.get_vocab_size()
    ids: dict[str, Any] = {
        f"{batch}x{length}": generator.integers(1000, size, (batch, length), np.int64)
        for batch, length in GRID
    }
    np.savez(tokens.timing, **ids)
    return tokens
