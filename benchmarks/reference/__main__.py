"""Train the reference language model, judge it, write its checkpoint and its card.

    nice python -m benchmarks.reference --out conf/modelwright_conf/reference_lm

A killed run goes on where the last checkpoint in `--work` was written; a finished one is judged anew.
"""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.record import heading, write
from benchmarks.reference.card import card
from benchmarks.reference.checkpoint import continuation, save
from benchmarks.reference.corpus import documents, encoded
from benchmarks.reference.judge import bytes_of, judge
from benchmarks.reference.protocol import Protocol
from benchmarks.reference.results import markdown
from benchmarks.reference.train import train
from benchmarks.reference.vocabulary import learn
from benchmarks.turns.machine import cpu_model
from modelwright.api.dataset import SPLITS
from modelwright.digest import digest_file
from modelwright_plugins.dataset.python_docs import PythonDocs

WORK = Path.home() / ".cache" / "modelwright" / "benchmarks" / "reference"
PROMPT = "Return a new list"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reference", description="Train and judge the reference language model."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and its card")
    parser.add_argument(
        "--results", type=Path, default=Path("benchmarks/results"), help="folder for the results"
    )
    parser.add_argument("--work", type=Path, default=WORK, help="where the state of the training is kept")
    parser.add_argument("--threads", type=int, default=2, help="threads of the judging")
    parser.add_argument(
        "--remark",
        action="append",
        default=[],
        help="a sentence for the card: how this training departed from its protocol",
    )
    return parser.parse_args(argv)


def run(protocol: Protocol, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything but the results' files: the checkpoint and its card; returns the figures."""
    import torch

    out: Path = arguments.out
    torch.set_num_threads(arguments.threads)
    texts = {split: documents(split) for split in SPLITS}
    tokenizer = learn(texts["train"], protocol.vocabulary)
    rows = encoded(tokenizer, texts["train"])
    model, curve = train(protocol, tokenizer, rows, encoded(tokenizer, texts["validation"]), arguments.work)
    save(model, tokenizer, out)
    weights = out / "model.safetensors"
    document = {
        **heading("reference", ["--out", str(arguments.out)]),
        "machine": {
            "cpu": cpu_model(),
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "threads": arguments.threads,
            "torch": torch.__version__,
        },
        "data": {
            "use": "python-docs",
            "form": "text",
            "python": platform.python_version(),
            "digest": PythonDocs(form="text").digest(),
            "splits": {
                split: {"documents": len(part), "bytes": bytes_of(part)} for split, part in texts.items()
            },
        },
        "protocol": asdict(protocol),
        "training": {
            "steps": protocol.steps,
            "tokens": protocol.tokens,
            "passes": protocol.tokens / sum(map(len, rows)),
            "wall_s": curve[-1]["s"],
            "released_step": int(min(curve, key=lambda point: point["validation"])["step"]),
            "remarks": arguments.remark,
            "curve": curve,
        },
        "model": {
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "bytes": weights.stat().st_size,
            "sha256": digest_file(weights),
        },
        "figures": judge(model, tokenizer, texts),
        "sample": {"prompt": PROMPT, "greedy": continuation(model, tokenizer, PROMPT, 60)},
    }
    (out / "README.md").write_text(card(document), encoding="utf-8")
    return document


def main(argv: list[str] | None = None) -> int:
    """Train or resume, judge, write. Exit 0 when the model is there."""
    arguments = parse(argv)
    document = run(Protocol(), arguments)
    print(write(document, markdown(document), arguments.results, "reference"))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    raise SystemExit(main())
