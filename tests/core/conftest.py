"""The toy plugin, installed as a plugin is: by a distribution on the path, through its entry point."""

import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy"
if str(TOY) not in sys.path:
    sys.path.insert(0, str(TOY))

from tests.core.bench import Bench  # noqa: E402 - needs the plugin on the path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
