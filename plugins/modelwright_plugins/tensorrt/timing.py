"""Times of kernels that TensorRT measured, kept so that the next build need not measure them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.api.target import TensorRTLibrary
from modelwright.planning.gpu import gpus
from modelwright.store.atomic import write_file
from modelwright_plugins.tensorrt.library import load


class TimingCache:
    """A file of times in a folder; they hold for one version of the library on one kind of GPU.

    >>> times = TimingCache(ctx.cache_dir, "tensorrt")
    >>> times.attach(config); builder.build_serialized_network(network, config); times.keep(config)
    """

    def __init__(self, folder: Path, library: TensorRTLibrary) -> None:
        kind = gpus()[0].name if gpus() else "no GPU"
        version = load(library).__version__
        self.file = folder / f"{library}-{version}-{kind}.timing".replace(" ", "-").replace("/", "-")

    def attach(self, config: Any) -> None:
        """Let a build begin with the times that are there; others' are left out by the library."""
        known = self.file.read_bytes() if self.file.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)

    def keep(self, config: Any) -> None:
        """Write the times of a build, and those from before."""
        cache = config.get_timing_cache()
        if cache is not None:
            write_file(self.file, bytes(cache.serialize()))
