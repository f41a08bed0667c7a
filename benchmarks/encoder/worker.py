"""One contender in a process of its own: `worker.py RUNTIME PATH THREADS`, JSON lines in and out.

It needs NumPy and the runtime only, since it runs in every peer's environment. It answers one line to each:

    {"do": "embed", "tokens": FILE, "out": FILE}            {}
    {"do": "time", "tokens": FILE, "cell": "1x128", "seconds": 0.3}    {"ms": [8.1, 8.2, ...]}
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata

import numpy as np

Inputs = Mapping[str, np.ndarray]
Infer = Callable[[Inputs], np.ndarray]
BATCH = 16
WARM_UP = 2
LEAST_PASSES = 3


def pooled(vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of the token vectors that are not padding, of length 1."""
    weights = mask.astype(np.float32)
    means = np.matmul(weights[:, None, :], vectors)[:, 0] / weights.sum(axis=1, keepdims=True)
    unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def load_torch(path: str, threads: int) -> tuple[Infer, str]:
    import torch
    from transformers import AutoModel

    torch.set_num_threads(threads)
    model = AutoModel.from_pretrained(path, dtype=torch.float32).eval()

    def infer(inputs: Inputs) -> np.ndarray:
        with torch.inference_mode():
            output = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return pooled(output.last_hidden_state.numpy(), inputs["attention_mask"])

    return infer, f"PyTorch, {model.config._attn_implementation} attention"


def load_onnx(path: str, threads: int) -> tuple[Infer, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    output = session.get_outputs()[0].name
    types = {item.name: np.int32 if "int32" in item.type else np.int64 for item in session.get_inputs()}

    def infer(inputs: Inputs) -> np.ndarray:
        feed = {name: inputs[name].astype(dtype, copy=False) for name, dtype in types.items()}
        return pooled(session.run([output], feed)[0], inputs["attention_mask"])

    return infer, "ONNX Runtime, CPUExecutionProvider"


def load_openvino(path: str, threads: int) -> tuple[Infer, str]:
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()

    def infer(inputs: Inputs) -> np.ndarray:
        request.infer(dict(inputs), share_inputs=True)
        return pooled(request.get_output_tensor(0).data, inputs["attention_mask"])

    return infer, "OpenVINO, CPU"


def load_artifact(path: str, threads: int) -> tuple[Infer, str]:
    from modelwright import Artifact
    from modelwright.api.target import Target

    artifact = Artifact.open(path)
    runner = artifact.runner(Target.model_validate({**dict(artifact.manifest.target), "threads": threads}))
    return runner.infer, ", ".join(runner.describe().values())


LOADERS = {"torch": load_torch, "onnx": load_onnx, "openvino": load_openvino, "artifact": load_artifact}
SHOWN = "modelwright torch transformers onnxruntime openvino nncf sentence-transformers optimum-onnx olive-ai"


def versions() -> dict[str, str]:
    installed = {item.name.lower(): item.version for item in metadata.distributions()}
    shown = {name: installed[name] for name in SHOWN.split() if name in installed}
    return {"python": platform.python_version()} | shown


def with_types(ids: np.ndarray, mask: np.ndarray) -> Inputs:
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def embed(infer: Infer, tokens: str, out: str) -> None:
    """Embed all rows in batches, each padded to its longest row, and save them."""
    rows = np.load(tokens)
    parts: list[np.ndarray] = []
    for start in range(0, len(rows["input_ids"]), BATCH):
        mask = rows["attention_mask"][start : start + BATCH]
        length = int(mask.sum(axis=1).max())
        ids = np.ascontiguousarray(rows["input_ids"][start : start + BATCH, :length])
        parts.append(np.array(infer(with_types(ids, np.ascontiguousarray(mask[:, :length])))))
    np.save(out, np.concatenate(parts))


def clock(infer: Infer, ids: np.ndarray, seconds: float) -> list[float]:
    """Milliseconds of each pass, for about `seconds` after the warm-up."""
    inputs = with_types(ids, np.ones_like(ids))
    passes: list[float] = []
    for _ in range(WARM_UP):
        infer(inputs)
    begun = time.perf_counter()
    while len(passes) < LEAST_PASSES or time.perf_counter() - begun < seconds:
        before = time.perf_counter()
        infer(inputs)
        passes.append((time.perf_counter() - before) * 1e3)
    return passes


def main() -> None:
    runtime, path, threads = sys.argv[1:]
    # Runtimes print to standard output; the answers keep it to themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    infer, how = LOADERS[runtime](path, int(threads))
    answer({"runs": how, "versions": versions()})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "embed":
            embed(infer, request["tokens"], request["out"])
            answer({})
        else:
            ids = np.load(request["tokens"])[request["cell"]]
            answer({"ms": clock(infer, ids, request["seconds"])})


if __name__ == "__main__":
    main()
