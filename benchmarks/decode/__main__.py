"""Compare four-bit language models on this CPU, in one interleaved run.

    python -m benchmarks.decode --out benchmarks/results --shape 135m

All start from one checkpoint of a given shape with random weights. Ours are the steps of the recipes that
`--recipe` names; peers run in this environment, each driven by its own API (`--peers none` leaves them out).
Contenders that are close want more rounds than all of them have time for:

    python -m benchmarks.decode --peers genai,openvino --recipe lm-int4-onnx-fast --lengths 128 --rounds 41 \
        --name decode-135m-close
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.decode.measure import Contender, Settings, measure
from benchmarks.decode.ours import run_recipe_steps
from benchmarks.decode.peers import PEERS, PeerError, make
from benchmarks.decode.results import markdown, results
from benchmarks.models.shape import SHAPES, write_checkpoint
from benchmarks.record import heading, write
from benchmarks.turns.worker_process import WorkerError, WorkerProcess
from modelwright.errors import ModelwrightError

WORK = Path.home() / ".cache" / "modelwright" / "benchmarks" / "decode"
WORKER = Path(__file__).with_name("worker.py")
RECIPES = ("lm-int4-genai", "lm-int4-onnx", "lm-int4-onnx-fast", "lm-int4-openvino", "lm-gguf-q4")
WEIGHTS = {".onnx", ".data", ".bin", ".gguf", ".safetensors"}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decode", description="Compare language models on this CPU, side by side."
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    parser.add_argument("--name", help="of the results (default: decode-SHAPE)")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="135m", help="the model's shape")
    parser.add_argument("--recipe", action="append", help=f"ours (default: {', '.join(RECIPES)})")
    parser.add_argument("--peers", default="all", help=f"all, none, or some of: {', '.join(PEERS)}")
    parser.add_argument("--work", type=Path, default=WORK, help="where checkpoints and models are kept")
    parser.add_argument("--lengths", default="128,512,2048", help="prompt lengths")
    parser.add_argument("--new", type=int, default=32, help="new tokens in a turn")
    parser.add_argument("--threads", type=int, default=2, help="threads of every contender")
    parser.add_argument("--rounds", type=int, default=7, help="turns that each contender takes per length")
    arguments = parser.parse_args(argv)
    chosen = {"all": list(PEERS), "none": []}
    arguments.peers = chosen.get(arguments.peers, arguments.peers.split(","))
    if unknown := [name for name in arguments.peers if name not in PEERS]:
        parser.error(f"no peer is called '{unknown[0]}'; there are {', '.join(PEERS)}")
    try:
        arguments.lengths = tuple(int(text) for text in arguments.lengths.split(","))
    except ValueError:
        parser.error("--lengths takes numbers with commas between them")
    if arguments.rounds < 3 or arguments.threads < 1 or arguments.new < 2 or min(arguments.lengths) < 1:
        parser.error("at least 3 rounds, 1 thread, 2 new tokens and prompts of 1 token are needed")
    return arguments


def gather(arguments: argparse.Namespace, model: Path) -> tuple[list[Contender], dict[str, str]]:
    """The running contenders, and why the others are missing."""
    running: list[Contender] = []
    missing: dict[str, str] = {}
    place = arguments.work / f"{model.name}-models"

    def add(title: str, kind: str, loader: str, made: Callable[[], Path]) -> None:
        print(f"making the model of {title} ...", flush=True)
        threads: int = arguments.threads
        try:
            path = made()
            worker = WorkerProcess([sys.executable, WORKER, loader, path, str(threads)], threads)
        except (PeerError, WorkerError, ModelwrightError) as error:
            missing[title] = str(error)
        else:
            running.append(Contender(title, kind, weight_bytes(path), worker))

    for name in arguments.peers:
        peer = PEERS[name]
        add(peer.title, "peer", peer.loader, partial(make, peer, model, place / name))
    for recipe in arguments.recipe or RECIPES:
        add(recipe, "ours", "model", partial(run_recipe_steps, recipe, model, place / "ours"))
    return running, missing


def weight_bytes(path: Path) -> int:
    """Bytes of the files with weights in them: those of the folder, or of the file's own folder."""
    if path.is_file():
        path = path.with_suffix(".bin") if path.suffix == ".xml" else path
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.iterdir() if file.suffix in WEIGHTS)


def main(argv: list[str] | None = None) -> int:
    """Make the models, measure, write the results. Exit 0 when at least two were measured."""
    arguments = parse(argv)
    settings = Settings(arguments.threads, arguments.rounds, arguments.new, arguments.lengths)
    model = write_checkpoint(arguments.shape, arguments.work)
    tokens = arguments.work / "tokens.npy"
    np.save(tokens, np.random.default_rng(0).integers(1, 250, max(settings.lengths), np.int64))
    contenders, missing = gather(arguments, model)
    memory = WorkerProcess([sys.executable, WORKER, "memory", "-", str(arguments.threads)], arguments.threads)
    workers = [memory, *(contender.worker for contender in contenders)]
    try:
        shares, bandwidth, died = measure(contenders, memory, tokens, settings)
    finally:
        for worker in workers:
            worker.close()
    document = {
        **heading("decode", argv),
        "shape": arguments.shape,
        **results(contenders, {**missing, **died}, settings, shares, bandwidth),
    }
    name = arguments.name or f"decode-{arguments.shape}"
    print(write(document, markdown(document), arguments.out, name))
    return 0 if len(contenders) > 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
