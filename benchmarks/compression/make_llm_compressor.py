"""GPTQ by llm-compressor, in an environment of its own; imports nothing of ours.

    ENVIRONMENT/bin/python make_llm_compressor.py CHECKPOINT windows.npy OUT BITS GROUP_SIZE ACT_ORDER

`windows.npy` are the token ids to calibrate on, [windows, length].
"""

from __future__ import annotations

import sys

import numpy as np


def main(checkpoint: str, windows: str, out: str, bits: str, group_size: str, act_order: str) -> None:
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import GPTQModifier
    from transformers import AutoModelForCausalLM

    ids = np.load(windows)
    order = "static" if act_order == "True" else None
    weights = QuantizationArgs(
        num_bits=int(bits), symmetric=True, strategy="group", group_size=int(group_size)
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    network = AutoModelForCausalLM.from_pretrained(checkpoint)
    oneshot(
        model=network,
        dataset=Dataset.from_dict({"input_ids": ids.tolist(), "attention_mask": np.ones_like(ids).tolist()}),
        recipe=[GPTQModifier(config_groups={"group_0": scheme}, ignore=["lm_head"], actorder=order)],
        max_seq_length=ids.shape[1],
        num_calibration_samples=len(ids),
    )
    network.save_pretrained(out, save_compressed=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
