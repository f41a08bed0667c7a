"""Runs in the peer's environment: sentence-transformers' own export and its avx512_vnni int8."""

import sys

from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

model, _, out = sys.argv[1:]
encoder = SentenceTransformer(model, backend="onnx", model_kwargs={"export": True})
export_dynamic_quantized_onnx_model(encoder, quantization_config="avx512_vnni", model_name_or_path=out)
