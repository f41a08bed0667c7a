"""Compare int8 encoders on this CPU, in one interleaved run.

    python -m benchmarks.encoder --out benchmarks/results --artifact artifacts/minilm-int8/1

Without `--artifact`, the latest artifact of each recipe that ships takes part, where ./artifacts has one.
Every contender runs in a process of its own, out of a Python environment of its own. The environments of
the peers are made on the first run and need a few gigabytes; `--peers none` leaves them out.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import yaml

from benchmarks.encoder.contender import Contender
from benchmarks.encoder.entrants import Entrant, Missing, gather
from benchmarks.encoder.measure import Settings, measure
from benchmarks.encoder.peers import PEERS
from benchmarks.encoder.results import markdown, results
from benchmarks.encoder.texts import write_tokens
from benchmarks.models.weights import minilm
from benchmarks.record import heading, write
from benchmarks.turns.worker_process import WorkerError
from modelwright.artifact.shelf import Shelf
from modelwright.errors import MissingError
from modelwright.recipe.config_groups import available
from modelwright.registry import Registry
from modelwright.store.workspace import Workspace

ENVIRONMENTS = Path.home() / ".cache" / "modelwright" / "benchmarks" / "encoder"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encoder", description="Compare int8 encoders on this CPU, side by side."
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    parser.add_argument(
        "--artifact",
        type=Path,
        action="append",
        help="an artifact (repeatable; default: the latest of each recipe that ships)",
    )
    parser.add_argument("--model", type=Path, help="the checkpoint all start from (default: the demo's)")
    parser.add_argument("--envs", type=Path, default=ENVIRONMENTS, help="where peers' environments lie")
    parser.add_argument("--peers", default="all", help=f"all, none, or some of: {', '.join(PEERS)}")
    parser.add_argument("--threads", type=int, default=2, help="threads of every contender")
    parser.add_argument("--rounds", type=int, default=9, help="turns that each contender takes per cell")
    parser.add_argument("--seconds", type=float, default=0.3, help="time measured in one turn")
    arguments = parser.parse_args(argv)
    chosen = {"all": list(PEERS), "none": []}
    named = arguments.peers.split(",")
    arguments.peers = chosen.get(arguments.peers, named)
    if unknown := [name for name in arguments.peers if name not in PEERS]:
        parser.error(f"no peer is called '{unknown[0]}'; there are {', '.join(PEERS)}")
    if arguments.rounds < 3 or arguments.threads < 1 or arguments.seconds <= 0:
        parser.error("at least 3 rounds, 1 thread and some time per turn are needed")
    try:
        arguments.model = arguments.model or minilm()
    except MissingError as error:
        parser.error(f"give --model FOLDER: {error}")
    if arguments.artifact is None:
        arguments.artifact = default_artifacts()
        if not arguments.artifact:
            print("none of ours takes part: no recipe that ships was run here (make bench does)", flush=True)
    return arguments


def default_artifacts() -> list[Path]:
    """The latest version that each shipped recipe released into the artifacts folder, by recipe name."""
    shelf = Shelf(Workspace.locate().artifacts)
    recipes = available(Registry.load(), "recipe").values()
    names = [yaml.safe_load(file.read_text("utf-8"))["name"] for file in recipes]
    return [shelf.locate(name) for name in names if shelf.versions(name)]


def start(entrants: list[Entrant], settings: Settings) -> tuple[list[Contender], list[Missing]]:
    """A running worker for each entrant that starts."""
    running: list[Contender] = []
    missing: list[Missing] = []
    for entrant in entrants:
        try:
            running.append(Contender(entrant, settings.threads))
        except WorkerError as error:
            if entrant.kind == "baseline":
                raise
            missing.append(Missing(entrant.name, str(error)))
    return running, missing


def main(argv: list[str] | None = None) -> int:
    """Set the peers up, measure, write the results. Exit 0 when the baseline and another were measured."""
    arguments = parse(argv)
    settings = Settings(arguments.threads, arguments.rounds, arguments.seconds)
    arguments.envs.mkdir(parents=True, exist_ok=True)
    work = arguments.envs / "work"
    tokens = write_tokens(arguments.model, work)
    entrants, missing = gather(arguments, tokens, work)
    contenders, failed = start(entrants, settings)
    try:
        measured, died, shares = measure(contenders, tokens, settings, work)
    finally:
        for contender in contenders:
            contender.close()
    document = {
        **heading("encoder", argv),
        **results(measured, [*missing, *failed, *died], settings, shares),
    }
    print(write(document, markdown(document), arguments.out, "encoder"))
    return 0 if len(measured) > 1 else 1


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
