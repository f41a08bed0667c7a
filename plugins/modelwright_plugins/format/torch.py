"""Hugging Face checkpoints (safetensors), run by PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.api.anatomy import Anatomy
from modelwright.api.format import Format, GpuRuntime
from modelwright.api.model import Model, ModelSize, ModelSpec, Task
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright_plugins.anatomy.read import read_anatomy
from modelwright_plugins.format.checkpoint import describe_checkpoint
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.format.safetensors_header import BITS, not_finite, read_header
from modelwright_plugins.format.surplus_layers import require_no_more_layers
from modelwright_plugins.format.weight_files import BESIDE_WEIGHTS, CODE, weight_files
from modelwright_plugins.text.tokenize import TOKENIZER_FILE, TextTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.utils.quantization_config import QuantizationConfigMixin

log = logging.getLogger(__name__)

AUTO_CLASSES: dict[Task, str] = {
    "embed": "AutoModel",
    "classify": "AutoModelForSequenceClassification",
    "generate": "AutoModelForCausalLM",
}


class Torch(Format, name="torch", requires=("torch", "transformers", "accelerate")):
    """A folder `from_pretrained` loads: config.json, safetensors weights, tokenizer."""

    @classmethod
    def gpu_runtimes(cls) -> tuple[GpuRuntime, ...]:
        """PyTorch."""
        import torch

        from modelwright_plugins.format.torch_device import cuda_problem

        return (GpuRuntime(f"PyTorch {torch.__version__}", cuda_problem()),)

    def recognises(self, path: Path) -> bool:
        """A folder with a config.json."""
        return (path / "config.json").is_file()

    def describe(self, path: Path, *, trust_remote_code: bool = False) -> ModelSpec:
        """Task, pooling, length and dtype from the folder's JSON files and headers."""
        return describe_checkpoint(path, trust_remote_code=trust_remote_code)

    def fetch(self, source: str, *, revision: str | None, trust_remote_code: bool) -> Path:
        """Download a hub repository's safetensors checkpoint into the Hugging Face cache; its folder there.

        Raises MissingError when the hub cannot be reached and the cache does not have it.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        wanted = ["*.safetensors", *BESIDE_WEIGHTS, "1_Pooling/*"]
        try:
            folder = snapshot_download(
                source, revision=revision, allow_patterns=[*wanted, CODE] if trust_remote_code else wanted
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            raise MissingError(
                f"'{source}' is no folder here, and the model hub did not give it: {type(error).__name__}.",
                where="model.path",
                accepted="a folder, pkg://package/folder, or the id of a hub repository (owner/name)",
                hint="check the spelling and the network, or download it first and give its folder",
            ) from error
        return Path(folder)

    def check(self, path: Path, *, deep: bool = False) -> None:
        """Headers against file sizes and config.json; `deep` also looks for NaN and infinity."""
        if not read_json(path / "config.json"):
            raise RecipeError(
                "The folder has no config.json.", where=str(path), accepted="a Hugging Face folder"
            )
        _check_tokenizer(path)
        files = weight_files(path)
        if anatomy := read_anatomy(path):
            require_no_more_layers(anatomy, path)
        for file in files:
            read_header(file)
            for tensor, count in not_finite(file) if deep else ():
                raise RecipeError(
                    f"The weights hold {count:,} values that are NaN or infinite, first in '{tensor}'.",
                    where=str(file),
                    hint="use a checkpoint whose training did not diverge",
                )

    def size(self, path: Path) -> ModelSize:
        """Parameters and bytes from the safetensors headers."""
        entries = [entry for file in weight_files(path) for entry in read_header(file).values()]
        return ModelSize(
            parameters=sum(entry.elements for entry in entries),
            weight_bytes=sum(entry.elements * BITS.get(entry.dtype, 8) // 8 for entry in entries),
        )

    def anatomy(self, path: Path) -> Anatomy | None:
        """Parts and shape from config.json, held against the safetensors headers where there are any."""
        return read_anatomy(path)

    def runner(self, model: Model, target: Target) -> Runner:
        """PyTorch with the model's own dtype and default attention."""
        if model.spec.task == "generate":
            from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner

            return TorchCausalRunner(model, target)
        from modelwright_plugins.format.torch_runner import TorchRunner

        return TorchRunner(model, target)


def _check_tokenizer(path: Path) -> None:
    """The tokenizer reads, and gives no id beyond the embedding table."""
    if not (path / TOKENIZER_FILE).is_file():
        return
    largest, rows = (
        TextTokenizer(path, max_length=8).largest_id,
        read_json(path / "config.json").get("vocab_size"),
    )
    if isinstance(rows, int) and largest >= rows:
        raise RecipeError(
            f"The tokenizer gives ids up to {largest}, and the model embeds {rows} (0 to {rows - 1}).",
            where=str(path / TOKENIZER_FILE),
            hint="the tokenizer belongs to another checkpoint",
        )


def load_checkpoint(
    model: Model,
    dtype: str | None = None,
    device_map: str | None = None,
    read_from: Path | None = None,
    quantization: QuantizationConfigMixin | None = None,
    attention: str | None = None,
) -> PreTrainedModel:
    """Load a checkpoint for inference: safetensors only, its own code only if the recipe trusted it.

    `dtype` is a torch dtype's name and defaults to the model's own; `device_map` goes to accelerate;
    `read_from` is a folder with the same checkpoint in other bytes; `quantization` is what weights are
    quantized with as they are loaded; `attention` is `from_pretrained`'s attn_implementation. Raises
    RecipeError where transformers does not load it, MissingError where that attention is not installed.
    """
    import torch
    import transformers

    factory = getattr(transformers, AUTO_CLASSES[model.spec.task])
    # None is no way to leave it out: it would hide what config.json says.
    given = {"quantization_config": quantization, "attn_implementation": attention}
    settings = {key: value for key, value in given.items() if value is not None}
    with _refusals_explained(model):
        loaded: PreTrainedModel = factory.from_pretrained(
            read_from or model.path,
            dtype=getattr(torch, dtype or model.spec.dtype),
            device_map=device_map,
            use_safetensors=True,
            trust_remote_code=model.spec.trust_remote_code,
            local_files_only=True,
            **settings,
        )
    return loaded.eval()


def load_as_described(model: Model, target: Target) -> PreTrainedModel:
    """Load a checkpoint to run it: in the target's type, with the attention of its description, and on the
    target's device or where the description places it.
    """
    device_map, attention = (model.spec.details.get(key) for key in ("device_map", "attention"))
    loaded = load_checkpoint(
        model,
        dtype=target.dtype,
        device_map=str(device_map) if device_map else None,
        attention=str(attention) if attention else None,
    )
    return loaded if device_map else loaded.to(target.device)


def load_skeleton(model: Model) -> PreTrainedModel:
    """A checkpoint's modules by its configuration, without weights: on the device `meta`.

    Raises RecipeError where transformers does not make it.
    """
    import torch
    import transformers

    factory = getattr(transformers, AUTO_CLASSES[model.spec.task])
    trusted = model.spec.trust_remote_code
    with _refusals_explained(model), torch.device("meta"):
        config = transformers.AutoConfig.from_pretrained(
            model.path, trust_remote_code=trusted, local_files_only=True
        )
        made: PreTrainedModel = factory.from_config(config, trust_remote_code=trusted)
    return made.eval()


@contextmanager
def _refusals_explained(model: Model) -> Iterator[None]:
    """Name what a configuration's values lead to in the model's own code."""
    try:
        yield
    except ImportError as error:
        raise MissingError(
            f"transformers does not load the checkpoint here: {str(error).strip().partition(chr(10))[0]}",
            where=str(model.path),
            hint="install what is named; attention.select chooses the attention",
        ) from error
    except (AttributeError, KeyError, NameError, TypeError, ValueError) as error:
        log.exception("Loading the checkpoint failed.")
        raise RecipeError(
            f"transformers does not load the checkpoint: {type(error).__name__}: {error}",
            where=str(model.path / "config.json"),
            hint="compare the configuration with the checkpoint's origin; the log holds the traceback",
        ) from error
