"""A 16-bit GGUF quantized to Q4_0 by llama.cpp: `make_llama_cpp.py MODEL OUT`."""

import sys
from pathlib import Path

import llama_cpp

from benchmarks.models.steps import run_stages

source, out = Path(sys.argv[1]), Path(sys.argv[2])
made_half = run_stages({"export": {"use": "export.gguf", "type": "F16"}}, source, out / "f16")
half = made_half.models["export"].path / "model.gguf"
made = out / "q4_0.gguf"
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
parameters.nthread = 2
code = llama_cpp.llama_model_quantize(str(half).encode(), str(made).encode(), parameters)
if code:
    raise SystemExit(f"llama_model_quantize gave {code}")
