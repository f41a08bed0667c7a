"""The built-in plugin: registers everything in this package."""

from __future__ import annotations

from collections.abc import Iterable

from modelwright.api.dataset import Dataset
from modelwright.api.format import Format
from modelwright.api.metric import Metric
from modelwright.api.publisher import Publisher
from modelwright.api.stage import Stage
from modelwright.hookspecs import hookimpl
from modelwright_plugins.attention.select import SelectAttention
from modelwright_plugins.cast.dtype import CastDtype
from modelwright_plugins.compile.onnxruntime import CompileOnnxRuntime
from modelwright_plugins.compile.tensorrt import CompileTensorRT
from modelwright_plugins.dataset.csv import Csv
from modelwright_plugins.dataset.huggingface import HuggingFace
from modelwright_plugins.dataset.jsonl import Jsonl
from modelwright_plugins.dataset.parquet import Parquet
from modelwright_plugins.dataset.python_docs import PythonDocs
from modelwright_plugins.dataset.text_files import TextFiles
from modelwright_plugins.distill.embeddings import DistillEmbeddings
from modelwright_plugins.distill.hidden import DistillHidden
from modelwright_plugins.distill.logits import DistillLogits
from modelwright_plugins.export.genai import ExportGenAI
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.export.llama2c import ExportLlama2c
from modelwright_plugins.export.onnx import ExportOnnx
from modelwright_plugins.export.openvino import ExportOpenVINO
from modelwright_plugins.format.bitsandbytes import BitsAndBytes
from modelwright_plugins.format.compressed_tensors import CompressedTensors
from modelwright_plugins.format.genai import GenAI
from modelwright_plugins.format.gguf import GGUF
from modelwright_plugins.format.llama2c import Llama2c
from modelwright_plugins.format.onnx import Onnx
from modelwright_plugins.format.openvino import OpenVINO
from modelwright_plugins.format.tensorrt import TensorRT
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.format.torchao import TorchAO
from modelwright_plugins.metric.accuracy import Accuracy
from modelwright_plugins.metric.decode import Decode
from modelwright_plugins.metric.fusion import Fusion
from modelwright_plugins.metric.generation_parity import GenerationParity
from modelwright_plugins.metric.kv_cache import KvCache
from modelwright_plugins.metric.latency import Latency
from modelwright_plugins.metric.memory import Memory
from modelwright_plugins.metric.parity import Parity
from modelwright_plugins.metric.perplexity import Perplexity
from modelwright_plugins.metric.prefill import Prefill
from modelwright_plugins.metric.retrieval import Retrieval
from modelwright_plugins.metric.similarity import Similarity
from modelwright_plugins.metric.size import Size
from modelwright_plugins.metric.throughput import Throughput
from modelwright_plugins.prune.gradual import PruneGradual
from modelwright_plugins.prune.magnitude import PruneMagnitude
from modelwright_plugins.prune.sparsegpt import PruneSparseGPT
from modelwright_plugins.prune.structured import PruneStructured
from modelwright_plugins.prune.wanda import PruneWanda
from modelwright_plugins.publish.local import Local
from modelwright_plugins.quantize.bitsandbytes import QuantizeBitsAndBytes
from modelwright_plugins.quantize.gptq import QuantizeGPTQ
from modelwright_plugins.quantize.nncf import QuantizeNNCF
from modelwright_plugins.quantize.nncf_weight_only import QuantizeNNCFWeightOnly
from modelwright_plugins.quantize.onnx_dynamic import QuantizeOnnxDynamic
from modelwright_plugins.quantize.onnx_static import QuantizeOnnxStatic
from modelwright_plugins.quantize.onnx_weight_only import QuantizeOnnxWeightOnly
from modelwright_plugins.quantize.torchao import QuantizeTorchAO


@hookimpl
def modelwright_formats() -> Iterable[type[Format]]:
    """Formats and their runners."""
    yield Torch
    yield CompressedTensors
    yield BitsAndBytes
    yield GenAI
    yield GGUF
    yield Llama2c
    yield Onnx
    yield OpenVINO
    yield TensorRT
    yield TorchAO


@hookimpl
def modelwright_stages() -> Iterable[type[Stage]]:
    """Stages."""
    yield CastDtype
    yield SelectAttention
    yield CompileOnnxRuntime
    yield CompileTensorRT
    yield DistillEmbeddings
    yield DistillHidden
    yield DistillLogits
    yield ExportGenAI
    yield ExportGGUF
    yield ExportLlama2c
    yield ExportOnnx
    yield ExportOpenVINO
    yield PruneGradual
    yield PruneMagnitude
    yield PruneSparseGPT
    yield PruneStructured
    yield PruneWanda
    yield QuantizeBitsAndBytes
    yield QuantizeGPTQ
    yield QuantizeNNCF
    yield QuantizeNNCFWeightOnly
    yield QuantizeOnnxDynamic
    yield QuantizeOnnxStatic
    yield QuantizeOnnxWeightOnly
    yield QuantizeTorchAO


@hookimpl
def modelwright_metrics() -> Iterable[type[Metric]]:
    """Metrics."""
    yield Accuracy
    yield Decode
    yield Fusion
    yield GenerationParity
    yield KvCache
    yield Latency
    yield Memory
    yield Parity
    yield Perplexity
    yield Prefill
    yield Retrieval
    yield Similarity
    yield Size
    yield Throughput


@hookimpl
def modelwright_datasets() -> Iterable[type[Dataset]]:
    """Data sets."""
    yield Csv
    yield HuggingFace
    yield Jsonl
    yield Parquet
    yield PythonDocs
    yield TextFiles


@hookimpl
def modelwright_publishers() -> Iterable[type[Publisher]]:
    """Publishers."""
    yield Local


@hookimpl
def modelwright_config() -> Iterable[str]:
    """The shipped recipes, models, targets and validations."""
    yield "pkg://modelwright_conf"
