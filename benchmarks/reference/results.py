"""The results as a table in Markdown, which the model card shows, too."""

from __future__ import annotations

from typing import Any


def markdown(document: dict[str, Any]) -> str:
    """What was trained, on what, and how well it predicts."""
    training, machine = document["training"], document["machine"]
    return "\n".join(
        [
            "# The reference language model",
            "",
            f"{document['date']} · {machine['cpu']} · `{document['command']}`",
            "",
            f"{document['model']['parameters']:,} parameters, {document['model']['bytes']:,} bytes. "
            f"{training['steps']:,} steps, {training['tokens']:,} tokens ({training['passes']:.1f} passes), "
            f"{training['wall_s'] / 60:.0f} minutes beside other work on the machine.",
            "",
            table(document["figures"]),
            "",
        ]
    )


def table(figures: dict[str, Any]) -> str:
    """Perplexity and bits per byte by model and split."""
    model, window = figures["model"], figures["window"]
    clean = figures["test_without_near_copies"]
    rows = [
        ("unigram (counts + 1)", "test", figures["baselines"]["unigram"]),
        ("bigram (Witten-Bell)", "test", figures["baselines"]["bigram"]),
        ("**reference-lm**", "test", model["test"]),
        ("reference-lm", "test without near copies", clean),
        ("reference-lm", "validation", model["validation"]),
        ("reference-lm", "train", model["train"]),
    ]
    lines = ["| model | split | perplexity per token | bits per byte | tokens |", "|---|---|---|---|---|"]
    for name, split, row in rows:
        lines.append(
            f"| {name} | {split} | {row['perplexity']:.2f} | {row['bits_per_byte']:.3f} | {row['tokens']:,} |"
        )
    lines += [
        "",
        f"Windows of {window['length']:,} tokens that advance by {window['stride']}; each token is judged "
        "once. `<|endoftext|>` stands before, between and after the documents; bits per byte include what it "
        "costs. The baselines were fitted on the train split and judged on the same tokens. "
        f"{clean['left_out']} of {clean['left_out'] + clean['documents']} test documents have half of "
        "their runs of eight words in the train split, too; the fourth row leaves them out.",
    ]
    return "\n".join(lines)
