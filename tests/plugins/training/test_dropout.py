from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers")

import torch
import transformers

from modelwright_plugins.training.dropout import without_dropout

SIZES = {"vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
RATES = {
    "bert": {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5, "intermediate_size": 48},
    "llama": {"attention_dropout": 0.5, "intermediate_size": 48},
    "gpt2": {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5},
    "opt": {
        "dropout": 0.5,
        "attention_dropout": 0.5,
        "layerdrop": 0.5,
        "ffn_dim": 48,
        "word_embed_proj_dim": 32,
    },
}


@pytest.mark.parametrize("family", RATES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_training_without_it_gives_what_evaluation_gives(family: str, attention: str) -> None:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **SIZES, **RATES[family], use_cache=False)
    network = transformers.AutoModel.from_config(config, attn_implementation=attention).train()
    ids = torch.arange(24).reshape(2, 12)
    assert not torch.allclose(network(ids).last_hidden_state, network(ids).last_hidden_state)
    without_dropout(network)
    trained = network(ids).last_hidden_state
    torch.testing.assert_close(trained, network.eval()(ids).last_hidden_state)
