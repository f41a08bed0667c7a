"""The artifact's README.md: a model card with a YAML header, as model hubs and their tools read it."""

from __future__ import annotations

from typing import Any

import yaml

from modelwright.api.metric import Value
from modelwright.api.model import ModelSpec
from modelwright.report import figures, units
from modelwright.report.markdown import fenced, plain, shown_text, table
from modelwright.report.model import ModelSummary, Report
from modelwright.report.plain_runtime import plain_snippet
from modelwright.report.verdict import verdict_words

_LIBRARIES = {"torch": "transformers", "onnx": "onnx", "openvino": "openvino", "gguf": "gguf"}
_RUNTIMES = {
    "torch": "transformers",
    "onnx": "onnxruntime",
    "genai": "onnxruntime-genai",
    "openvino": "openvino",
    "gguf": "llama-cpp-python",
}
_TASKS = {"embed": "feature-extraction", "classify": "text-classification", "generate": "text-generation"}
_CALLS = {
    "embed": 'embeddings = runner.embed(["a sentence", "another one"])',
    "classify": 'labels = runner.classify(["a sentence", "another one"])',
    "generate": 'texts = runner.generate(["a prompt", "another one"], max_new_tokens=64)',
}


def render_card(report: Report) -> str:
    """The model card of a report's candidate.

    Raises ValueError when the report has no candidate: there is nothing to describe.
    """
    model = report.candidate
    if model is None:
        raise ValueError(f"report {report.run_id} has no candidate")
    header = yaml.safe_dump(_header(report, model), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{header}---",
        f"# {plain(report.name)}",
        plain(report.description),
        _what(report, model),
        _loading(report, model),
        _figures(report),
        _gates(report),
        _provenance(report, model),
        _limitations(report, model),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(report: Report, model: ModelSummary) -> dict[str, Any]:
    library = _LIBRARIES.get(model.spec.format)
    header: dict[str, Any] = {
        **({"library_name": library} if library else {}),
        "pipeline_tag": _TASKS[model.spec.task],
        "tags": list(dict.fromkeys(["modelwright", model.spec.format, *model.spec.tags])),
    }
    results = [_result(report, model, value) for value in report.values if value.data]
    if results:  # the name on one line: a line of dashes in it would end the header
        header["model-index"] = [{"name": " ".join(report.name.split()), "results": results}]
    return header


def _result(report: Report, model: ModelSummary, value: Value) -> dict[str, Any]:
    used = {data.name: data.use for data in report.data}
    return {
        "task": {"type": _TASKS[model.spec.task]},
        "dataset": {"name": value.data, "type": used.get(value.data or "", value.data)},
        "metrics": [{"type": value.name, "value": value.candidate.value, "name": figures.title(value.name)}],
    }


def _what(report: Report, model: ModelSummary) -> str:
    spec = model.spec
    chain = " → ".join(f"`{step.stage}`" for step in report.steps)
    made = f"Made by modelwright from **{plain(report.baseline.title)}**" + (
        f" through {chain}" if chain else ""
    )
    facts = [
        f"{plain(spec.architecture)} in {plain(spec.format)} format",
        units.disk(model.bytes),
        f"up to {spec.max_length} tokens",
        *([f"{spec.pooling} pooling"] if spec.pooling else []),
        *(["vectors of length 1"] if spec.normalize else []),
    ]
    return f"{made}. {', '.join(facts)}."


def _loading(report: Report, model: ModelSummary) -> str:
    folder = f"artifacts/{report.name}/{1 if report.version is None else report.version}"
    call = _CALLS[model.spec.task]
    ours = f"from modelwright import Artifact\n\nrunner = Artifact.open({folder!r}).runner()\n{call}"
    parts = ["## Use", *_elsewhere(report), fenced(ours, "python")]
    provider = report.environment.target.get("provider", "CPUExecutionProvider")
    snippet = plain_snippet(model.spec, str(provider))
    if snippet is not None:
        runtime = _RUNTIMES[model.spec.format]
        parts += [f"Or with {runtime} alone, in the artifact's folder:", fenced(snippet, "python")]
    return "\n\n".join(parts)


def _elsewhere(report: Report) -> list[str]:
    """A word before the code that runs it, of a model that was built for other machines."""
    if _ran(report):
        return []
    return [
        "Nothing has run this model yet: it was built for a machine other than the one that made it. There:"
    ]


def _ran(report: Report) -> bool:
    return bool(report.environment.target.get("runs", True))


def _figures(report: Report) -> str:
    if not report.values:
        return ""
    rows = [
        (
            plain(figures.label(value)),
            shown_text(figures.of_value(value, "baseline")),
            shown_text(figures.of_value(value, "candidate")),
            shown_text(figures.times(value) or figures.change(value)),
        )
        for value in report.values
    ]
    hardware = ", ".join(f"{plain(key)} {plain(item)}" for key, item in report.environment.hardware.items())
    where = f"{'Measured' if _ran(report) else 'Built'} on {hardware}. " if hardware else ""
    baseline = plain(report.baseline.title)
    explained = f"{where}The baseline is {baseline} as it came in; small figures are 95 % intervals."
    return "\n\n".join(
        ["## Figures", explained, table(("Figure", "Baseline", "This model", "Change"), rows, (1, 2, 3))]
    )


def _gates(report: Report) -> str:
    if not report.gates:
        return "## Gates\n\nThe recipe asks for no gate: nothing above was required of this model."
    rows = [
        (
            plain(gate.name),
            "passed" if gate.passed else "not measured" if gate.excused else "**failed**",
            plain(gate.asked),
            units.quantity(gate.measured, gate.unit, binary=figures.is_memory(gate.metric)),
        )
        for gate in report.gates
    ]
    return "\n\n".join(
        [
            "## Gates",
            verdict_words(report).explanation,
            table(("Gate", "Result", "Asked", "Judged by"), rows, (3,)),
        ]
    )


def _provenance(report: Report, model: ModelSummary) -> str:
    rows = [
        ("run", plain(report.run_id)),
        ("made", plain(report.created)),
        ("base model", f"{plain(report.baseline.title)}, `{report.baseline.digest}`"),
        ("this model", f"`{model.digest}`"),
        *((f"data {plain(data.name)}", f"{plain(data.use)}, `{data.digest}`") for data in report.data),
    ]
    explained = (
        "`recipe.yaml` is the recipe with every default filled in; `provenance.json` states the whole chain."
    )
    parts = ["## Provenance", explained, table(("What", "Which"), rows)]
    if report.reproduce:
        parts += ["To make it again:", fenced("\n".join(report.reproduce), "sh")]
    return "\n\n".join(parts)


def _limitations(report: Report, model: ModelSummary) -> str:
    measured = [
        "Speed and memory hold for the machine named above; `modelwright bench` measures on yours.",
        "Quality was measured on the data named above and on nothing else.",
    ]
    lines = [
        *(measured if _ran(report) else ["Its quality and speed were not measured: nothing has run it."]),
        _length_limit(model.spec),
        "The base model's license, biases and intended use apply to this model too.",
    ]
    noisy = [figures.title(value.name) for value in report.values if value.noisy]
    if noisy:
        lines.append(f"Noisy, so read with care: {', '.join(plain(name) for name in dict.fromkeys(noisy))}.")
    lines += [plain(note) for note in report.notes]
    return "## Limitations\n\n" + "\n".join(f"- {line}" for line in lines)


def _length_limit(spec: ModelSpec) -> str:
    if spec.task == "generate":
        return f"Prompt and new text together take at most {spec.max_length} tokens."
    return f"Texts longer than {spec.max_length} tokens are cut."
