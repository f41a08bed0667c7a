"""Runs in the peer's environment: OpenVINO's conversion and NNCF's calibrated int8, driven directly."""

import sys
from pathlib import Path

import nncf
import numpy as np
import openvino
import torch
from transformers import AutoModel

source, calibration, out = sys.argv[1:]


class Encoder(torch.nn.Module):
    """Only the token vectors; the pooling head isn't used."""

    def __init__(self) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(source, dtype=torch.float32, attn_implementation="sdpa").eval()
        self.model.pooler = None

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids, attention_mask, token_type_ids).last_hidden_state


ones = torch.ones(2, 16, dtype=torch.int64)
example = {"input_ids": ones, "attention_mask": ones, "token_type_ids": ones * 0}
converted = openvino.convert_model(Encoder(), example_input=example)
rows = np.load(calibration)
samples = []
for ids, mask in zip(rows["input_ids"], rows["attention_mask"], strict=True):
    length = int(mask.sum())
    samples.append(
        {
            "input_ids": ids[None, :length],
            "attention_mask": mask[None, :length],
            "token_type_ids": np.zeros((1, length), np.int64),
        }
    )
quantized = nncf.quantize(
    converted, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples)
)
openvino.save_model(quantized, Path(out) / "model.xml")
