"""Say what this machine and environment can do: hardware, runtimes, plugins, and what is missing."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelwright.cli.output import say, table

if TYPE_CHECKING:
    from modelwright.api.format import Format


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the command takes no arguments of its own."""


def run(args: argparse.Namespace) -> int:
    """Print it; 4 when the environment is broken."""
    from importlib import metadata

    from modelwright import __version__
    from modelwright.planning.hardware import describe_hardware
    from modelwright.registry import Registry

    registry = Registry.load()
    say(f"modelwright {__version__}\n")
    say(table(["machine", ""], [[key, value] for key, value in describe_hardware().items()]))
    say()
    rows = []
    for kind, catalog in (
        ("format", registry.formats),
        ("stage", registry.stages),
        ("metric", registry.metrics),
        ("data set", registry.datasets),
        ("publisher", registry.publishers),
    ):
        for name in catalog:
            versions = ", ".join(f"{key} {value}" for key, value in catalog[name].versions().items())
            missing = ", ".join(catalog[name].missing())
            rows.append([kind, name, "missing " + missing if missing else "ready", versions])
    say(table(["", "name", "state", "with"], rows))
    say()
    say(table(["runtime on NVIDIA GPUs", "state"], _gpu_runtimes(registry.formats)))
    say()
    say(table(["plugin", "version"], [[item.name, item.version] for item in registry.distributions]))
    installed = {item.metadata["Name"].lower() for item in metadata.distributions() if item.metadata["Name"]}
    if {"onnxruntime", "onnxruntime-gpu"} <= installed:
        say(
            "\nproblem: onnxruntime and onnxruntime-gpu are both installed and overwrite each other.\n"
            "  next: pip uninstall onnxruntime onnxruntime-gpu, then install the one you need"
        )
        return 4
    return 0


def _gpu_runtimes(formats: Mapping[str, type[Format]]) -> list[list[str]]:
    ready = (formats[name] for name in formats if not formats[name].missing())
    # Several formats share a runtime.
    found = dict.fromkeys(item for format_ in ready for item in format_.gpu_runtimes())
    return [[item.name, item.problem or "usable"] for item in found]
