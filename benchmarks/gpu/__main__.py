"""How fast models run on an NVIDIA GPU, and how much memory attention takes there.

    python -m benchmarks.gpu --out benchmarks/results

Each table is measured in turn and has files of its own; one that fails says so there.
"""

from __future__ import annotations

import argparse
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.page import PLOT_FILE, page
from benchmarks.gpu.plot import attention_plot
from benchmarks.record import heading, write

TABLES = ("attention", "encoder", "decoder", "runtimes", "recipes")


def main(argv: list[str] | None = None) -> int:
    """Measure and write `gpu-TABLE.json`, its page and for attention a plot; 4 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--table", action="append", choices=TABLES, help="default: all of them")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the results")
    arguments = parser.parse_args(argv)
    import torch

    if not torch.cuda.is_available():
        print("This benchmark needs an NVIDIA GPU and a CUDA build of torch.")
        return 4
    from benchmarks.gpu import attention, decoder, encoder, recipes, roof, runtimes, timing

    with tempfile.TemporaryDirectory() as work:
        tables: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
            "attention": attention.measure,
            "encoder": lambda: encoder.measure(Path(work)),
            "decoder": decoder.measure,
            "runtimes": lambda: runtimes.measure(Path(work)),
            "recipes": lambda: recipes.measure(Path(work)),
        }
        failed = False
        for name in arguments.table or TABLES:
            rows: list[dict[str, Any]] = []
            document: dict[str, Any] = {
                **heading("gpu", ["--table", name]),
                "device": timing.device(),
                "roof": roof.measure(),
                "table": name,
                "rows": rows,
                "failed": "It was cut off.",
            }
            try:
                for row in tables[name]():
                    print(name, row, flush=True)
                    rows.append(row)
                    write(document, page(document), arguments.out, f"gpu-{name}")
                if name == "attention":
                    (arguments.out / PLOT_FILE).write_text(attention_plot(rows), encoding="utf-8")
                document["failed"] = None
                failed |= any(row.get("verdict") in ("failed", "rejected") for row in rows)
            except Exception:  # shown in the results; the time on a GPU is not lost for the other tables
                document["failed"] = traceback.format_exc()
                failed = True
            print(write(document, page(document), arguments.out, f"gpu-{name}"))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
