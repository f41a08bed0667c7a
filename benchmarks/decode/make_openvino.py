"""transformers' OpenVINO exporter and NNCF's int4 weights, driven directly: `make_openvino.py MODEL OUT`."""

import sys
from pathlib import Path

import nncf
import openvino
import torch
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.exporters import OpenVINOConfig, OpenVINOExporter

source, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
cache = DynamicCache(config=model.config)
ids = torch.arange(16).reshape(2, 8)
mask = torch.ones_like(ids)
positions = mask.cumsum(1) - 1
with torch.inference_mode():
    model(ids[:, :5], attention_mask=mask[:, :5], past_key_values=cache, use_cache=True)
sample = {
    "input_ids": ids[:, 5:],
    "attention_mask": mask,
    "position_ids": positions[:, 5:],
    "past_key_values": cache,
    "use_cache": True,
    "logits_to_keep": torch.tensor([0, 2]),
}
graph = OpenVINOExporter().export(model, sample, config=OpenVINOConfig(dynamic=True)).program
compressed = nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=64)
openvino.save_model(compressed, Path(out) / "openvino_model.xml", compress_to_fp16=False)
