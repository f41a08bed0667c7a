"""The chains of steps that are measured; each starts at the checkpoint."""

from __future__ import annotations

from typing import Any

Chain = dict[str, dict[str, Any]]

DOCS = {"use": "python-docs", "form": "text"}
TRACE: Chain = {"export": {"use": "export.onnx", "opset": 23}}
WEIGHT_ONLY = {"use": "quantize.onnx_weight_only", "embeddings": True}
FUSE = {"use": "compile.onnxruntime", "variant": "fused"}
OPENVINO: Chain = {"export": {"use": "export.openvino"}}
NNCF = {"use": "quantize.nncf_weight_only"}

CHAINS: dict[str, Chain] = {
    "cast to float32": {"cast": {"use": "cast.dtype", "dtype": "fp32"}},
    "onnx, traced": TRACE,
    "onnx, by the builder": {"export": {"use": "export.onnx", "graph": "builder"}},
    "onnx int4, rtn": {**TRACE, "quantize": {**WEIGHT_ONLY, "method": "rtn"}, "compile": FUSE},
    "onnx int4, hqq": {**TRACE, "quantize": {**WEIGHT_ONLY, "method": "hqq"}},
    "onnx int4, k_quant": {**TRACE, "quantize": {**WEIGHT_ONLY, "method": "k_quant"}},
    "onnx int8, rtn": {**TRACE, "quantize": {**WEIGHT_ONLY, "method": "rtn", "bits": 8, "block_size": 64}},
    "onnx int4, gptq": {**TRACE, "quantize": {**WEIGHT_ONLY, "method": "gptq", "data": "docs", "samples": 8}},
    "genai fp32": {"export": {"use": "export.genai", "precision": "fp32"}},
    "genai int4": {"export": {"use": "export.genai", "precision": "int4"}},
    "genai int4, head in int8": {
        "export": {
            "use": "export.genai",
            "precision": "int4",
            "algorithm": "rtn",
            "symmetric": False,
            "keep_int8": "last",
        }
    },
    "genai int8": {"export": {"use": "export.genai", "precision": "int8", "algorithm": "rtn"}},
    "openvino int4": {**OPENVINO, "quantize": {**NNCF, "mode": "int4_sym", "group_size": 64}},
    "openvino int4, gptq": {
        **OPENVINO,
        "quantize": {**NNCF, "mode": "int4_sym", "group_size": 64, "gptq": True, "data": "docs"},
    },
    "openvino int8": {**OPENVINO, "quantize": {**NNCF, "mode": "int8_asym"}},
    "gguf F16": {"export": {"use": "export.gguf", "type": "F16"}},
    "gguf Q8_0": {"export": {"use": "export.gguf", "type": "Q8_0"}},
    "gguf Q4_0": {"export": {"use": "export.gguf", "type": "Q4_0"}},
    "gguf Q4_K_M": {"export": {"use": "export.gguf", "type": "Q4_K_M"}},
    "llama2c v1": {"export": {"use": "export.llama2c", "version": 1}},
    "llama2c v2": {"export": {"use": "export.llama2c", "version": 2}},
}
