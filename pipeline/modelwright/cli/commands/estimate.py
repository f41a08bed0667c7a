"""Say what models will take: weights per dtype, KV cache, activations, and where that fits.

  modelwright estimate ./checkpoint
  modelwright estimate model=local model.path=./checkpoint target=cpu --batch 4 --length 4096
  modelwright estimate ./checkpoint --device gpu0=24GiB --device gpu1=24GiB --device cpu=64GiB
  modelwright estimate examples/estimate/*

Reads config.json and the headers of safetensors files; no weight is read and torch is not imported. A
folder without weights will do.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.cli.estimates import DTYPES, print_one, print_table
from modelwright.cli.output import say

if TYPE_CHECKING:
    from modelwright.planning.device_map import Device

DEVICES = "devices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The models, the sequences to hold, and the devices to fit on."""
    parser.add_argument(
        "what",
        nargs="*",
        metavar="FOLDER|OVERRIDE",
        help="folders with a config.json; or model=NAME model.path=FOLDER target=NAME, or a recipe "
        "(recipe=NAME or a YAML file), whose model it is; devices.gpu0=24GiB is --device",
    )
    parser.add_argument("--batch", type=positive, default=1, help="sequences at once; 1 by default")
    parser.add_argument("--length", type=positive, default=2048, help="tokens per sequence; 2048 by default")
    parser.add_argument(
        "--dtype", choices=DTYPES, help="dtype of the activations' figures and the device map; the stored one"
    )
    parser.add_argument(
        "--attention", choices=("fused", "eager"), help="attention kernel; fused where the family has it"
    )
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="a device and its memory, such as gpu0=24GiB or cpu=64GiB; may be repeated; this machine's "
        "by default",
    )
    parser.add_argument(
        "--sequential", action="store_true", help="fill each device before the next, as device_map=sequential"
    )
    parser.add_argument("--json", action="store_true", help="print the figures, in bytes, as JSON")


def positive(text: str) -> int:
    """The `type` of an argument that is a whole number of at least 1."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10**9):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least 1")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Estimate and print."""
    import json

    from modelwright.errors import RecipeError
    from modelwright.planning.estimate import Request, estimate
    from modelwright.planning.preflight import devices_for, read_folder, read_source, select
    from modelwright.registry import Registry

    registry = Registry.load()
    folders, recipe, overrides, sizes = _sorted(args.what)
    selection = select(registry, recipe, overrides)
    devices = _devices([*args.device, *sizes]) or devices_for(selection.target)
    subjects = [read_folder(registry, folder) for folder in folders]
    if selection.source is not None:
        subjects.append(read_source(registry, selection.source, selection.origin))
    if not subjects:
        raise RecipeError(
            "No model is given.",
            where="modelwright estimate",
            accepted="folders with a config.json, or model=local model.path=FOLDER",
        )
    request = Request(
        batch=args.batch,
        length=args.length,
        dtype=args.dtype or selection.dtype,
        attention=args.attention,
        devices=devices,
        balanced=not args.sequential,
    )
    found = [(subject, estimate(subject.anatomy, request)) for subject in subjects]
    if args.json:
        plain = [
            {"model": subject.name, "path": str(subject.path), **result.model_dump(mode="json")}
            for subject, result in found
        ]
        say(json.dumps(plain[0] if len(plain) == 1 else plain, indent=2))
    elif len(found) == 1:
        print_one(found[0][0].name, found[0][1])
    else:
        print_table([(subject.name, result) for subject, result in found])
    return 0


def _sorted(what: Sequence[str]) -> tuple[list[str], str | None, list[str], list[str]]:
    """Folders, a recipe's file, overrides, and devices with their sizes."""
    from modelwright.errors import RecipeError

    folders, recipes, overrides, sizes = [], [], [], []
    for text in what:
        key = text.lstrip("+").partition("=")[0]
        if Path(text).expanduser().exists() and not text.endswith(".yaml"):
            folders.append(text)
        elif text.endswith(".yaml") and "=" not in text:
            recipes.append(text)
        elif key == DEVICES or key.startswith(f"{DEVICES}."):
            sizes += _sizes(text.lstrip("+"))
        elif "=" in text or text.startswith("~"):
            overrides.append(text)
        else:
            folders.append(text)  # which is not there: refused by name
    if any(Path(text).is_dir() for text in folders):  # a glob names the files beside the folders as well
        folders = [text for text in folders if not _is_other_file(Path(text))]
    if len(recipes) > 1:
        raise RecipeError(f"Several recipes are given: {', '.join(recipes)}.", accepted="one recipe")
    return folders, (recipes[0] if recipes else None), overrides, sizes


def _is_other_file(path: Path) -> bool:
    return path.is_file() and path.name != "config.json"


def _sizes(text: str) -> list[str]:
    """`devices.gpu0=24GiB` or `devices={gpu0: 24GiB, cpu: 64GiB}` as texts for `--device`."""
    import yaml

    from modelwright.errors import RecipeError

    key, _, value = text.partition("=")
    if key != DEVICES:
        return [f"{key.removeprefix(DEVICES + '.')}={value}"]
    try:
        mapping = yaml.safe_load(value)
    except yaml.YAMLError:
        mapping = None
    if not isinstance(mapping, dict) or not mapping:
        raise RecipeError(
            f"'{value}' is no mapping of devices to their memory.",
            where=DEVICES,
            accepted="devices={gpu0: 24GiB, cpu: 64GiB}",
        )
    return [f"{name}={size}" for name, size in mapping.items()]


def _devices(texts: Sequence[str]) -> dict[Device, int]:
    from modelwright.planning.devices import parse_devices

    return parse_devices(texts, "--device")
