"""The peers: the packages that make one work, pinned, and the script that makes its int8 model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent


class Peer(NamedTuple):
    """One tool. `script MODEL CALIBRATION OUT` runs in its environment and leaves `model` in OUT."""

    title: str
    packages: tuple[str, ...]
    script: Path
    runtime: str
    model: str


# The torch that is installed first; another requirement would otherwise draw in a build for GPUs.
TORCH = "torch==2.13.0"

PEERS = {
    "sentence-transformers": Peer(
        "sentence-transformers, avx512_vnni int8 ONNX",
        (
            "sentence-transformers==5.7.0",
            "optimum-onnx==0.1.0",
            "optimum==2.1.0",
            "transformers==4.57.6",
            "onnx==1.23.2",
            "onnxruntime==1.32.0",
        ),
        FOLDER / "make_sentence_transformers.py",
        "onnx",
        "onnx/model_qint8_avx512_vnni.onnx",
    ),
    # Olive imports requests without declaring it, and its exporter fails on newer transformers.
    "olive": Peer(
        "Microsoft Olive, fused and int8 per channel",
        (
            "olive-ai==0.13.0",
            "requests==2.34.2",
            "transformers==4.57.6",
            "onnx==1.23.2",
            "onnxscript==0.7.2",
            "onnxruntime==1.32.0",
        ),
        FOLDER / "make_olive.py",
        "onnx",
        "model.onnx",
    ),
    "openvino": Peer(
        "OpenVINO int8 by NNCF",
        ("openvino==2026.4.1", "nncf==3.4.0", "transformers==5.23.0"),
        FOLDER / "make_openvino.py",
        "openvino",
        "model.xml",
    ),
}
