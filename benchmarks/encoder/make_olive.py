"""Runs in the peer's environment: Olive's conversion, transformer fusions and dynamic int8.

The settings are the best of those tried: the older exporter is the one whose attention Olive fuses.
"""

import json
import subprocess
import sys
from pathlib import Path

model, _, out = sys.argv[1:]
config = json.loads((Path(model) / "config.json").read_text())
inputs = ["input_ids", "attention_mask", "token_type_ids"]
run = {
    "input_model": {
        "type": "HfModel",
        "model_path": model,
        "task": "feature-extraction",
        "load_kwargs": {"attn_implementation": "eager"},
        "io_config": {
            "input_names": inputs,
            "input_shapes": [[2, 16]] * 3,
            "input_types": ["int64"] * 3,
            "output_names": ["last_hidden_state"],
            "dynamic_axes": {name: {"0": "batch", "1": "length"} for name in [*inputs, "last_hidden_state"]},
        },
    },
    "systems": {
        "here": {
            "type": "LocalSystem",
            "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
        }
    },
    "passes": {
        "convert": {"type": "OnnxConversion", "target_opset": 20, "use_dynamo_exporter": False},
        "fuse": {
            "type": "OrtTransformersOptimization",
            "model_type": "bert",
            "num_heads": config["num_attention_heads"],
            "hidden_size": config["hidden_size"],
            "opt_level": 0,
        },
        "quantize": {"type": "OnnxDynamicQuantization", "per_channel": True, "reduce_range": False},
    },
    "host": "here",
    "target": "here",
    "output_dir": out,
    "cache_dir": str(Path(out) / "cache"),
    "no_artifacts": True,
}
recipe = Path(out) / "run.json"
recipe.write_text(json.dumps(run))
olive = Path(sys.executable).parent / "olive"
raise SystemExit(subprocess.run([str(olive), "run", "--config", str(recipe)], check=False).returncode)
