"""llama.cpp's own quantizer, through the C functions that llama-cpp-python binds."""

from __future__ import annotations

import ctypes
from pathlib import Path

from modelwright.errors import StageError
from modelwright_plugins.gguf.llama_cpp_library import import_llama_cpp

# Rows of one tensor that the quantizer holds at once.
BUFFER_BYTES = 2**26


def quantize_file(source: Path, out: Path, file_type: str, output_type: str | None, threads: int) -> None:
    """Quantize a GGUF file of floats into another by the mixture that llama.cpp has under that name.

    >>> quantize_file(folder / "float.gguf", folder / "model.gguf", "Q4_K_M", None, threads=2)

    Raises MissingError without llama-cpp-python, StageError when llama.cpp fails; its reasons are in the log.
    """
    llama_cpp = import_llama_cpp()
    options = llama_cpp.llama_model_quantize_default_params()
    options.nthread = threads
    options.max_buf_size = BUFFER_BYTES
    options.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{file_type}")
    if output_type is not None:
        from gguf import GGMLQuantizationType

        options.output_tensor_type = int(GGMLQuantizationType[output_type])
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(options))
    if code != 0:
        raise StageError(
            f"llama.cpp did not quantize to {file_type} (code {code}).", where=str(source), hint="see the log"
        )
