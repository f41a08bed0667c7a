"""An interpreter that lacks one installed distribution: a real search path without it, nothing faked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

from modelwright.api.component import ALTERNATIVES


def run_without(
    distribution: str, arguments: Sequence[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` as if a distribution (or one that provides the same module) were not installed.

    >>> run_without("onnxruntime", ["-m", "modelwright", "plan", "recipe.yaml"], tmp_path).returncode
    4

    `folder` must be empty; it takes the search path, as links. What the process starts itself sees
    everything again.
    """
    names = [distribution, *ALTERNATIVES.get(distribution, ())]
    # -S: else `site` would put the environment's own site-packages behind ours again.
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path_without(names, folder))},
        capture_output=True,
        text=True,
        check=False,
    )


def path_without(distributions: Sequence[str], folder: Path) -> list[str]:
    """`sys.path`, where a folder that holds one of the distributions is a folder of links to all the rest."""
    hidden = {canonicalize_name(name) for name in distributions}
    left_out: dict[Path, set[str]] = {}
    for found in metadata.distributions():
        if canonicalize_name(found.metadata["Name"]) in hidden:
            place = Path(str(found.locate_file("")))
            left_out.setdefault(place.resolve(), set()).update(top_names(found))
    return [
        str(_links(Path(entry), left_out[place], folder / str(index)))
        if (place := Path(entry).resolve()) in left_out
        else entry
        for index, entry in enumerate(sys.path)
        if entry
    ]


def top_names(distribution: metadata.Distribution) -> set[str]:
    """Files and folders of a distribution at the top of where it is installed, its metadata included."""
    names = {file.parts[0] for file in distribution.files or ()}
    return names - {"..", "__pycache__"}


def _links(place: Path, names: set[str], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for item in place.iterdir():
        if item.name not in names:
            (folder / item.name).symlink_to(item)
    return folder
