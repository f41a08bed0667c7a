"""What a GPU gave, as Markdown: a page for each table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.compression.table import grid
from benchmarks.models.shape import costs

MISSING = "–"
PLOT_FILE = "gpu-attention.svg"

# How ways to run Llamas differ, by a word of their names.
OF_RUNTIMES = {
    "ONNX Runtime": "ONNX Runtime's ids come from the host.",
    "CUDA graph": "Those of CUDA graphs are on the GPU, as PyTorch's are.",
    "TensorRT": "TensorRT's come from the host, and it gives the logits of every position of a prompt.",
}


class Section(NamedTuple):
    """A table under its title, with what it shows in words."""

    title: str
    text: str
    header: list[str]
    cells: list[list[str]]


def page(document: dict[str, Any]) -> str:
    """The page of one table."""
    roof, device = document["roof"], document["device"]
    tables = {
        "attention": _attention,
        "encoder": _encoder,
        "decoder": _decoder,
        "runtimes": _runtimes,
        "recipes": _recipes,
    }
    title, text, header, cells = tables[document["table"]](document["rows"], roof)
    lines = [
        f"# {title}",
        "",
        f"{document['date']} · {device['name']}, driver {device['driver_version']}, torch "
        f"{device['torch']} · `{document['command']}`",
        "",
        *(_roof(roof) if document["table"] != "recipes" else []),
        text,
        "",
        *grid(header, cells),
    ]
    if document["table"] == "attention":
        lines += ["", f"![Time and memory over tokens]({PLOT_FILE})"]
    if document["failed"]:
        lines += ["", f"Not finished: `{document['failed'].strip().splitlines()[-1]}`"]
    return "\n".join(lines) + "\n"


def _roof(roof: dict[str, float]) -> list[str]:
    return [
        f"A bf16 product of two 8,192 x 8,192 matrices runs at {roof['flops'] / 1e12:.0f} TFLOP/s, a copy "
        f"moves {roof['bytes'] / 1e12:.2f} TB/s: the roof that shares are of. Times are medians of rounds in "
        "which contenders take turns, by CUDA events.",
        "",
    ]


def _attention(rows: Sequence[dict[str, Any]], roof: dict[str, float]) -> Section:
    names = list(dict.fromkeys(name for row in rows for name in row["bytes"]))
    cells = [
        [
            f"{row['length']:,}",
            *(_timed(row["ms"].get(name), row["flops"], roof["flops"]) for name in names),
            *(_mib(row["bytes"].get(name)) for name in names),
        ]
        for row in rows
    ]
    header = ["tokens", *(f"{name}, ms" for name in names), *(f"{name}, MiB" for name in names)]
    return Section(
        "Attention over long prompts",
        "Causal, one text, 32 heads of 64, bf16: milliseconds (share of the roof's rate), and what is "
        "allocated beyond queries, keys and values. Memory of eager attention grows with the square of the "
        "length, of the others with the length.",
        header,
        cells,
    )


def _encoder(rows: Sequence[dict[str, Any]], roof: dict[str, float]) -> Section:
    names = list(dict.fromkeys(name for row in rows for name in row["ms"]))
    held = list(rows[0]["bytes"]) if rows else []
    cells = [
        [
            f"{row['batch']} x {row['length']}",
            *(_timed(row["ms"].get(name), row["flops"], roof["flops"]) for name in names),
            *(_mib(row["bytes"].get(name)) for name in held),
            f"{min(row['least_cosine'].values()):.5f}",
        ]
        for row in rows
    ]
    return Section(
        "MiniLM in float16",
        "Batch x length, milliseconds (share of the roof's rate) from token ids on the GPU to the last "
        "hidden states there (ONNX Runtime waits for each run to end, PyTorch's runs queue), what that "
        "allocates in PyTorch, and the least cosine of a token's vector with that of eager attention."
        + _unrecorded(rows),
        ["batch x length", *names, *(f"MiB, {name}" for name in held), "least cosine"],
        cells,
    )


def _decoder(rows: Sequence[dict[str, Any]], roof: dict[str, float]) -> Section:
    return _llamas(
        rows,
        roof,
        "Llamas in bfloat16",
        "Milliseconds to read a prompt (share of the roof's rate), what that allocates, and milliseconds of "
        "one more token (share of the roof's bandwidth that reading the weights once takes).",
    )


def _runtimes(rows: Sequence[dict[str, Any]], roof: dict[str, float]) -> Section:
    names = [name for row in rows for name in row["token_ms"]]
    told = [text for word, text in OF_RUNTIMES.items() if any(word in name for name in names)]
    return _llamas(
        rows,
        roof,
        "Llamas in several runtimes",
        "Milliseconds to read a prompt (share of the roof's rate), and of one more token (share of the "
        "roof's bandwidth that reading the weights in 16 bits once takes), from token ids to logits. "
        f"PyTorch computes in float16, and so do others where they name no bits. {' '.join(told)}"
        + _unrecorded(rows),
    )


def _recipes(rows: Sequence[dict[str, Any]], roof: dict[str, float]) -> Section:
    cells = [
        [
            *(row[key] for key in ("recipe", "verdict", "gate", "asked", "judged")),
            "passed" if row["passed"] else "**failed**",
        ]
        for row in rows
    ]
    return Section(
        "Recipes for GPUs",
        "What each gate of a recipe asks, and the pessimistic end of the interval that it was judged by.",
        ["recipe", "verdict", "gate", "asked", "judged by", ""],
        cells,
    )


def _llamas(rows: Sequence[dict[str, Any]], roof: dict[str, float], title: str, text: str) -> Section:
    prompts, held, steps = (
        list(dict.fromkeys(name for row in rows for name in row.get(key, {})))
        for key in ("prompt_ms", "prompt_bytes", "token_ms")
    )
    cells = []
    for row in rows:
        operations, weights = costs(row["shape"], row["batch"], row["length"])
        cells.append(
            [
                row["shape"],
                f"{row['batch']} x {row['length']:,}",
                *(_timed(row["prompt_ms"].get(name), operations, roof["flops"]) for name in prompts),
                *(_mib(row["prompt_bytes"].get(name)) for name in held),
                *(_timed(row["token_ms"].get(name), weights, roof["bytes"]) for name in steps),
            ]
        )
    header = ["shape", "batch x prompt", *(f"prompt, {name}" for name in prompts)]
    header += [*(f"MiB, {name}" for name in held), *(f"token, {name}" for name in steps)]
    return Section(title, text, header, cells)


def _unrecorded(rows: Sequence[dict[str, Any]]) -> str:
    """Which graphs have no column of CUDA graphs, and why."""
    reasons = {name: why for row in rows for name, why in row.get("unrecorded", {}).items()}
    return "".join(f" Not recorded as a CUDA graph: {name} ({why})." for name, why in reasons.items())


def _timed(found: dict[str, float] | None, amount: float, rate: float) -> str:
    """Milliseconds, and the share of a rate that doing or moving so much in them is."""
    if found is None:
        return MISSING
    return f"{found['value']:.3g} ({amount / (found['value'] / 1000) / rate:.0%})"


def _mib(found: int | None) -> str:
    return f"{found / 2**20:,.0f}" if found is not None else MISSING
