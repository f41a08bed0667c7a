"""Times that a build measured go to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelwright_plugins.tensorrt.library import load, logger_of
from modelwright_plugins.tensorrt.timing import TimingCache

pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")


@pytest.mark.filterwarnings("ignore:.*no-ops in TensorRT-RTX:DeprecationWarning")
def test_a_build_begins_with_what_the_last_one_kept(tmp_path: Path) -> None:
    trt = load("tensorrt_rtx")
    builder = trt.Builder(logger_of(trt))
    times = TimingCache(tmp_path, "tensorrt_rtx")
    assert times.file.name.startswith(f"tensorrt_rtx-{trt.__version__}-")
    for _ in range(2):
        config = builder.create_builder_config()
        times.attach(config)
        times.keep(config)
        assert [times.file] == list(tmp_path.iterdir())
