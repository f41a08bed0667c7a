"""One contender in a process of its own: `worker.py LOADER PATH THREADS`, JSON lines in and out.

Peers are driven by their own API and their own greedy loop, ours through modelwright's runner:

    {"do": "decode", "tokens": FILE, "length": 128, "new": 32}    {"prefill": 0.15, "steps": [0.01, ...]}
    {"do": "read"}  (loader `memory`)                               {"gigabytes_per_second": 44.0}
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata

import numpy as np

# Starts a text of token ids [1, length] with room for more; yields after each token, the first after prefill.
Decode = Callable[[np.ndarray, int], Iterator[int]]
SHOWN = "modelwright torch transformers onnxruntime onnxruntime-genai openvino nncf llama-cpp-python"


def load_torch(path: str, threads: int) -> tuple[Decode, str]:
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    def decode(ids: np.ndarray, new: int) -> Iterator[int]:
        cache, fed = DynamicCache(config=model.config), torch.from_numpy(ids)
        for _ in range(new):
            with torch.inference_mode():
                logits = model(fed, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            fed = logits[:, -1].argmax(-1, keepdim=True)
            yield int(fed)

    return decode, f"PyTorch, {model.config._attn_implementation} attention, dynamic cache"


def load_torch_compile(path: str, threads: int) -> tuple[Decode, str]:
    import torch
    from transformers import AutoModelForCausalLM, StaticCache

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    forward = torch.compile(model.forward, dynamic=False)
    caches: dict[int, StaticCache] = {}

    def decode(ids: np.ndarray, new: int) -> Iterator[int]:
        length = ids.shape[1]
        # One cache for each prompt length, so that a shape is compiled once.
        cache = caches.setdefault(length, StaticCache(config=model.config, max_cache_len=length + new))
        cache.reset()
        fed, place = torch.from_numpy(ids), torch.arange(length)
        for index in range(new):
            # Inductor's graphs do not take a cache that was made in inference mode.
            with torch.no_grad():
                run = model.forward if index == 0 else forward
                logits = run(
                    fed, past_key_values=cache, position_ids=place[None], use_cache=True, logits_to_keep=1
                ).logits
            fed = logits[:, -1].argmax(-1, keepdim=True).clone()
            place = torch.tensor([length + index])
            yield int(fed)

    return decode, "PyTorch, decode compiled by Inductor, static cache; prefill eager"


def load_genai(path: str, threads: int) -> tuple[Decode, str]:
    import onnxruntime_genai as og

    config = og.Config(path)
    options = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    model = og.Model(config)

    def decode(ids: np.ndarray, new: int) -> Iterator[int]:
        parameters = og.GeneratorParams(model)
        parameters.set_search_options(max_length=ids.shape[1] + new, min_length=ids.shape[1] + new)
        generator = og.Generator(model, parameters)
        generator.append_tokens(ids.astype(np.int32))
        for _ in range(new):
            generator.generate_next_token()
            yield int(generator.get_next_tokens()[0])

    return decode, "ONNX Runtime GenAI, its own greedy search"


def load_llama_cpp(path: str, threads: int) -> tuple[Decode, str]:
    from llama_cpp import Llama

    model = Llama(path, n_ctx=2304, n_threads=threads, n_threads_batch=threads, verbose=False)

    def decode(ids: np.ndarray, new: int) -> Iterator[int]:
        model.reset()
        for index, token in enumerate(model.generate(ids[0].tolist(), temp=0.0, reset=False)):
            yield token
            if index == new - 1:
                return

    return decode, "llama.cpp, its own greedy sampler"


def load_openvino(path: str, threads: int) -> tuple[Decode, str]:
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()

    def decode(ids: np.ndarray, new: int) -> Iterator[int]:
        request.reset_state()
        total, fed = ids.shape[1], ids
        for _ in range(new):
            request.infer(
                {
                    "input_ids": fed,
                    "attention_mask": np.ones((1, total), np.int64),
                    "position_ids": np.arange(total - fed.shape[1], total)[None],
                    "beam_idx": np.zeros(1, np.int32),
                    "logits_to_keep": np.array([fed.shape[1] - 1]),
                },
                share_inputs=True,
            )
            token = int(request.get_output_tensor(0).data[0, -1].argmax())
            yield token
            fed, total = np.array([[token]]), total + 1

    return decode, f"OpenVINO, {compiled.get_property('INFERENCE_PRECISION_HINT').to_string()} arithmetic"


def load_model(path: str, threads: int) -> tuple[Decode, str]:
    from pathlib import Path

    from modelwright.api.model import Model
    from modelwright.api.target import Target
    from modelwright.registry import Registry

    model = Model.open(Path(path), "unread")
    runner = Registry.load().formats[model.spec.format]().runner(model, Target(threads=threads))

    def decode(ids: np.ndarray, new: int) -> Iterator[int]:
        decoder = runner.start({"input_ids": ids, "attention_mask": np.ones_like(ids)}, new)
        for index in range(new):
            token = decoder.logits.argmax(axis=-1)
            yield int(token[0])
            if index < new - 1:
                decoder.step(token)

    return decode, ", ".join(runner.describe().values())


def load_memory(path: str, threads: int) -> tuple[Decode, str]:
    """No model: reads memory, for the roof that decoding has."""
    import torch

    torch.set_num_threads(threads)
    block = torch.ones(256 * 2**20)

    def decode(ids: np.ndarray, new: int) -> Iterator[int]:
        block.sum()
        yield 0

    return decode, "sum over 1 GiB of float32 by PyTorch"


LOADERS = {
    "torch": load_torch,
    "torch-compile": load_torch_compile,
    "genai": load_genai,
    "llama.cpp": load_llama_cpp,
    "openvino": load_openvino,
    "model": load_model,
    "memory": load_memory,
}


def versions() -> dict[str, str]:
    installed = {item.name.lower(): item.version for item in metadata.distributions()}
    shown = {name: installed[name] for name in SHOWN.split() if name in installed}
    return {"python": platform.python_version()} | shown


def timed(decode: Decode, ids: np.ndarray, new: int) -> dict[str, object]:
    """Seconds until the first token, and between each two."""
    moments = [time.perf_counter()]
    for _ in decode(ids, new):
        moments.append(time.perf_counter())
    spans = np.diff(moments).tolist()
    return {"prefill": spans[0], "steps": spans[1:]}


def main() -> None:
    loader, path, threads = sys.argv[1:]
    # Runtimes print to standard output; the answers keep it to themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    decode, how = LOADERS[loader](path, int(threads))
    answer({"runs": how, "versions": versions()})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "read":
            seconds = timed(decode, np.zeros((1, 1), np.int64), 1)["prefill"]
            answer({"gigabytes_per_second": 2**30 / 1e9 / float(str(seconds))})
        else:
            ids = np.load(request["tokens"])[None, : request["length"]]
            answer(timed(decode, np.ascontiguousarray(ids), request["new"]))


if __name__ == "__main__":
    main()
