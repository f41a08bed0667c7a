"""Code that generates text with an artifact in its plain runtime, without modelwright, for the model card."""

from __future__ import annotations

from modelwright.api.model import ModelSpec

_TORCH = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("model")
model = AutoModelForCausalLM.from_pretrained("model").eval()
prompt = tokenizer("a prompt", return_tensors="pt")
tokens = model.generate(**prompt, max_new_tokens=32, do_sample=False)[0].tolist()
text = tokenizer.decode(tokens)
"""

_GENAI = """\
import onnxruntime_genai as og
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("model/tokenizer.json")
model = og.Model("model")
prompt = tokenizer.encode("a prompt").ids
options = og.GeneratorParams(model)
options.set_search_options(max_length=len(prompt) + 32)
generator = og.Generator(model, options)
generator.append_tokens(prompt)
while not generator.is_done():
    generator.generate_next_token()
tokens = generator.get_sequence(0).tolist()
text = tokenizer.decode(tokens)
"""

_GGUF = """\
from llama_cpp import Llama

model = Llama("model/model.gguf", n_ctx={context}, verbose=False)
text = model("a prompt", max_tokens=32, temperature=0)["choices"][0]["text"]
"""

_ONNX = """\
import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("model/tokenizer.json")
{before}session = ort.InferenceSession("model/model.onnx", providers=["{provider}"])
taken = {{item.name: item for item in session.get_inputs()}}
names = [item.name for item in session.get_outputs()]
tokens = tokenizer.encode("a prompt").ids
past = {{
    name: np.zeros((1, item.shape[1], 0, item.shape[3]), np.float16 if "16" in item.type else np.float32)
    for name, item in taken.items()
    if name.startswith("past_key_values.")
}}
fed = tokens
for _ in range(32):
    inputs = {{
        "input_ids": np.array([fed]),
        "attention_mask": np.ones((1, len(tokens)), np.int64),
        "position_ids": np.arange(len(tokens) - len(fed), len(tokens))[None],
    }}
    inputs = {{name: array for name, array in inputs.items() if name in taken}}
    outputs = dict(zip(names, session.run(names, {{**inputs, **past}})))
    past = {{name: outputs[name.replace("past_key_values", "present")] for name in past}}
    fed = [int(outputs["logits"][0, -1].argmax())]
    tokens = tokens + fed
text = tokenizer.decode(tokens)
"""

_OPENVINO = """\
import numpy as np
import openvino as ov
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("model/tokenizer.json")
model = ov.Core().compile_model("model/openvino_model.xml", "CPU", {properties})
request = model.create_infer_request()
names = [port.get_any_name() for port in model.inputs]
tokens = tokenizer.encode("a prompt").ids
fed = tokens
for _ in range(32):
    inputs = {{
        "input_ids": np.array([fed]),
        "attention_mask": np.ones((1, len(tokens)), np.int64),
        "position_ids": np.arange(len(tokens) - len(fed), len(tokens))[None],
        "beam_idx": np.zeros(1, np.int32),
        "logits_to_keep": np.array([len(fed) - 1]),
    }}
    logits = request.infer({{name: inputs[name] for name in names}})["logits"]
    fed = [int(logits[0, -1].argmax())]
    tokens = tokens + fed
text = tokenizer.decode(tokens)
"""


# What a model's details fix of how OpenVINO runs it.
_PROPERTIES = {"inference_precision": "INFERENCE_PRECISION_HINT", "cache_precision": "KV_CACHE_PRECISION"}


def before_session(provider: str) -> str:
    """What ONNX Runtime needs before it opens a session: CUDA's libraries, from Python packages."""
    return "ort.preload_dlls()\n" if provider == "CUDAExecutionProvider" else ""


def generation_snippet(spec: ModelSpec, provider: str) -> str | None:
    """Python that loads `model/` and continues a prompt, `text`; None for a format it does not know.

    Run it in the artifact's folder.
    """
    if spec.format == "onnx":
        return _ONNX.format(provider=provider, before=before_session(provider))
    if spec.format == "gguf":
        return _GGUF.format(context=spec.max_length)
    if spec.format == "openvino":
        chosen = {_PROPERTIES[key]: value for key, value in spec.details.items() if key in _PROPERTIES}
        return _OPENVINO.format(properties=chosen)
    return {"torch": _TORCH, "genai": _GENAI}.get(spec.format)
