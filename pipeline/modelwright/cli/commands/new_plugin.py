"""Write a complete plugin package: an entry point, one stage, one test that runs.

modelwright new-plugin my-pruning
cd modelwright-my-pruning && pip install -e . && pytest
"""

from __future__ import annotations

import argparse
from pathlib import Path

from modelwright.cli.output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its name and place."""
    parser.add_argument("name", help="letters, digits and dashes; the package becomes modelwright-NAME")
    parser.add_argument(
        "--into", type=Path, default=Path(), metavar="DIR", help="folder to write it in (here)"
    )


def run(args: argparse.Namespace) -> int:
    """Write it, and say what to do next."""
    from modelwright.scaffold.write import write_plugin

    folder = write_plugin(args.name, args.into)
    say(f"wrote {folder}")
    say(f"next: cd {folder} && pip install -e '.[test]' && pytest")
    return 0
