"""Finds the command, runs it, and turns expected errors into one block and an exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, Protocol, cast

from modelwright import __version__
from modelwright.cli.output import complain, say
from modelwright.errors import ModelwrightError, RecipeError, did_you_mean

USAGE_ERROR = 2
DEFECT = 3
INTERRUPTED = 130

COMMANDS = {
    "run": "run a recipe to a validated, versioned artifact",
    "plan": "check a recipe and show what a run would do",
    "estimate": "say what a model will take and where it fits",
    "list": "list the artifacts",
    "stages": "list the stages, or explain one",
    "recipes": "list the recipes, or print one",
    "doctor": "say what this machine and environment can do",
    "verify": "check an artifact's files against its manifest",
    "bench": "measure an artifact on this machine",
    "compare": "compare two artifacts or runs",
    "report": "show the report of an artifact or run",
    "promote": "point a label such as production at a version",
    "new-plugin": "write a complete plugin package to start from",
    "gc": "remove what the store no longer needs",
}

EXIT_CODES = """exit codes:
  0  published, or the command did what it says
  1  a gate failed, a comparison regressed, or verification found damage
  2  the recipe or the command line is wrong
  3  a stage or a measurement failed
  4  something is missing here: a package, a device, data"""


class Command(Protocol):
    """A module of `modelwright.cli.commands`."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code."""


class Parser(argparse.ArgumentParser):
    """Refuses wrong arguments in the words every other error uses."""

    def error(self, message: str) -> NoReturn:
        """Raise RecipeError (exit 2) instead of printing the usage."""
        raise RecipeError(f"{message[:1].upper()}{message[1:]}.", where=self.prog, hint=f"{self.prog} --help")


def run_command(argv: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character must not end a run
    try:
        _check_folder()
        return _run(argv)
    except ModelwrightError as error:
        complain(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Exception:  # a defect, shown whole; 3, because Python's own 1 would read as a failed gate
        traceback.print_exc()
        return DEFECT


def _check_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - asks whether it is there at all
    except FileNotFoundError as error:
        raise RecipeError("The current folder is gone.", hint="cd to one that exists") from error


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        say(_help())
        return 0 if argv else USAGE_ERROR
    if argv[0] in ("-V", "--version"):
        say(f"modelwright {__version__}")
        return 0
    name = argv[0]
    if name not in COMMANDS:
        raise RecipeError(
            f"There is no command '{name}'.", accepted=", ".join(COMMANDS), hint=did_you_mean(name, COMMANDS)
        )
    module = importlib.import_module(f"modelwright.cli.commands.{name.replace('-', '_')}")
    command = cast(Command, module)
    parser = Parser(
        prog=f"modelwright {name}",
        description=module.__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return command.run(parser.parse_intermixed_args(list(argv[1:])))


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: modelwright COMMAND [options]",
            "",
            "A YAML recipe in, a validated and versioned model artifact out; if a gate fails, nothing.",
            "",
            *lines,
            "",
            "  modelwright COMMAND --help explains a command",
            "",
            EXIT_CODES,
        ]
    )
