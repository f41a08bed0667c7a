"""The model before training: transformers' Llama in a size that a repository can hold."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from benchmarks.reference.protocol import Protocol
from benchmarks.reference.vocabulary import END, PADDING


def build(protocol: Protocol, tokenizer: Tokenizer) -> Any:
    """A LlamaForCausalLM with weights drawn from PyTorch's random state; grouped queries, tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    end = tokenizer.token_to_id(END)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=protocol.hidden,
        intermediate_size=protocol.intermediate,
        num_hidden_layers=protocol.layers,
        num_attention_heads=protocol.heads,
        num_key_value_heads=protocol.kv_heads,
        head_dim=protocol.hidden // protocol.heads,
        max_position_embeddings=protocol.context,
        rope_parameters={"rope_type": "default", "rope_theta": protocol.rope_theta},
        rms_norm_eps=protocol.norm_eps,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=tokenizer.token_to_id(PADDING),
        initializer_range=protocol.deviation,
    )
    return LlamaForCausalLM(config)


def add_dropout(model: Any, share: float) -> None:
    """Drop that share of what each attention, each MLP and the embedding add, while the model trains."""
    from torch.nn import functional

    def drop(module: Any, inputs: Any, output: Any) -> Any:
        if not module.training:
            return output
        if isinstance(output, tuple):
            return (functional.dropout(output[0], share), *output[1:])
        return functional.dropout(output, share)

    model.model.embed_tokens.register_forward_hook(drop)
    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(drop)
        layer.mlp.register_forward_hook(drop)
