"""Code that opens an artifact in its plain runtime, without modelwright, for the model card."""

from __future__ import annotations

from modelwright.api.model import ModelSpec
from modelwright.report.plain_generation import before_session, generation_snippet

_TOKENS = """\
import numpy as np
{imports}
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("model/tokenizer.json")
tokenizer.enable_truncation({max_length})
padding = tokenizer.padding or {{}}
tokenizer.enable_padding(pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]"))
encodings = tokenizer.encode_batch(["a sentence", "another one"])
inputs = {{
    "input_ids": np.array([e.ids for e in encodings], dtype=np.int64),
    "attention_mask": np.array([e.attention_mask for e in encodings], dtype=np.int64),
    "token_type_ids": np.array([e.type_ids for e in encodings], dtype=np.int64),
}}
mask = inputs["attention_mask"][:, :, None]
"""

_ONNX = """
{before}session = ort.InferenceSession("model/model.onnx", providers=["{provider}"])
names = [item.name for item in session.get_inputs()]
output = session.run(["{output}"], {{name: inputs[name] for name in names}})[0]
"""

_OPENVINO = """
model = ov.Core().compile_model("model/openvino_model.xml", "CPU")
names = [port.get_any_name() for port in model.inputs]
output = model({{name: inputs[name] for name in names}})["{output}"]
"""

_TORCH = """\
import torch
from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("model")
model = {auto}.from_pretrained("model").eval()
texts = ["a sentence", "another one"]
inputs = tokenizer(texts, padding=True, truncation=True, max_length={max_length}, return_tensors="pt")
mask = inputs["attention_mask"][:, :, None].numpy()
with torch.inference_mode():
    output = model(**inputs).{output}.float().numpy()
"""

_POOLING = {
    "mean": "embeddings = (output * mask).sum(axis=1) / mask.sum(axis=1)",
    "cls": "embeddings = output[:, 0]",
    "max": "embeddings = np.where(mask > 0, output, -np.inf).max(axis=1)",
}
_NORMALIZE = "embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)"


def plain_snippet(spec: ModelSpec, provider: str = "CPUExecutionProvider") -> str | None:
    """Python that loads `model/` and runs two texts; None for a format that this page does not know.

    Run it in the artifact's folder. It ends with `embeddings` of shape [2, dim], `labels`, or `text`.
    """
    if spec.task == "generate":
        return generation_snippet(spec, provider)
    output = "last_hidden_state" if spec.task == "embed" else "logits"
    if spec.format == "onnx":
        head = _TOKENS.format(imports="import onnxruntime as ort", max_length=spec.max_length)
        body = head + _ONNX.format(output=output, provider=provider, before=before_session(provider))
    elif spec.format == "openvino":
        head = _TOKENS.format(imports="import openvino as ov", max_length=spec.max_length)
        body = head + _OPENVINO.format(output=output)
    elif spec.format == "torch":
        auto = "AutoModel" if spec.task == "embed" else "AutoModelForSequenceClassification"
        body = _TORCH.format(auto=auto, output=output, max_length=spec.max_length)
        if spec.task == "embed" and (spec.pooling == "max" or spec.normalize):
            body = "import numpy as np\n" + body
    else:
        return None
    return body + "\n".join(_reading(spec)) + "\n"


def _reading(spec: ModelSpec) -> list[str]:
    if spec.task == "classify":
        return [f"labels = [{list(spec.labels)!r}[row] for row in output.argmax(axis=1)]"]
    return [_POOLING[spec.pooling or "mean"], *([_NORMALIZE] if spec.normalize else [])]
