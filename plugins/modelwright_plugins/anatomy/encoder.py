"""BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet: bare, with a word head, or as classifiers."""

from __future__ import annotations

from typing import NamedTuple

from modelwright.api.anatomy import Shape, Tensor
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.heads import divide
from modelwright_plugins.anatomy.layout import Layout, labels
from modelwright_plugins.anatomy.parts import INT64, Parts


class Names(NamedTuple):
    """What a relative calls its parts: query, key, value, output, norms, MLP; `base` is BERT's prefix.

    `whole` says whether transformers keeps a layer on one device.
    """

    base: str
    layers: str
    attention: tuple[str, str, str, str]
    attention_norm: str
    inner: str
    outer: str
    outer_norm: str
    whole: bool = False


BERT = Names(
    "bert",
    "encoder.layer",
    ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
    whole=True,
)
ROBERTA = BERT._replace(base="roberta")
MPNET = BERT._replace(
    base="mpnet",
    attention=("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),
    attention_norm="attention.LayerNorm",
    whole=False,
)
DISTILBERT = Names(
    "distilbert",
    "transformer.layer",
    ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)


def bert(config: Config) -> Layout:
    """BERT."""
    return _encoder(config, BERT)


def roberta(config: Config) -> Layout:
    """RoBERTa and XLM-RoBERTa."""
    return _encoder(config, ROBERTA)


def mpnet(config: Config) -> Layout:
    """MPNet: relative positions beside absolute ones."""
    return _encoder(config, MPNET)


def distilbert(config: Config) -> Layout:
    """DistilBERT: no token types and no pooler."""
    return _encoder(config, DISTILBERT)


def _encoder(config: Config, names: Names) -> Layout:
    hidden, layers = config.count("hidden_size", "dim"), config.layers("num_hidden_layers", "n_layers")
    heads = config.count("num_attention_heads", "n_heads")
    dim = divide(config, "num_attention_heads", hidden, heads)
    inner, vocabulary = config.count("intermediate_size", "hidden_dim"), config.count("vocab_size")
    length = config.count("max_position_embeddings", default=512)
    architecture = config.architecture()
    # The bare class has no prefix; a config that names no class is taken for the bare one.
    bare = not architecture or architecture.endswith("Model")
    parts = Parts()
    with parts.inside("" if bare else names.base):
        _embeddings(parts, config, names, vocabulary, hidden, length)
        for index in range(layers):
            with parts.layer(f"{names.layers}.{index}", whole=names.whole):
                for name in names.attention:
                    parts.linear(name, hidden, hidden, bias=True)
                parts.norm(names.attention_norm, hidden, bias=True)
                parts.linear(names.inner, hidden, inner, bias=True)
                parts.linear(names.outer, inner, hidden, bias=True)
                parts.norm(names.outer_norm, hidden, bias=True)
        if names is MPNET:
            buckets = config.count("relative_attention_num_buckets", default=32)
            parts.embedding("encoder.relative_attention_bias", buckets, heads)
        if names is not DISTILBERT and (bare or (architecture.endswith(CLASSIFIER) and names is BERT)):
            parts.linear("pooler.dense", hidden, hidden, bias=True)
            parts.add("pooler.activation")
    tied = _task_head(parts, config, names, architecture, hidden, vocabulary)
    return Layout(
        tuple(parts.modules),
        Shape(
            layers=layers,
            hidden=hidden,
            intermediate=inner,
            heads=heads,
            kv_heads=heads,
            head_dim=dim,
            value_dim=dim,
            vocabulary=vocabulary,
            context_length=length,
            score_values=2,
            score_bytes=0,
        ),
        base=names.base,
        tied=tied,
    )


CLASSIFIER = "ForSequenceClassification"


def _embeddings(
    parts: Parts, config: Config, names: Names, vocabulary: int, hidden: int, length: int
) -> None:
    types = config.count("type_vocab_size", default=2) if names in (BERT, ROBERTA) else 0
    ids = [Tensor("position_ids", (1, length), "buffer", item_bytes=INT64)]
    if types:
        ids.append(Tensor("token_type_ids", (1, length), "buffer", item_bytes=INT64))
    with parts.layer("embeddings", *ids, whole=names.whole):
        parts.embedding("word_embeddings", vocabulary, hidden)
        parts.embedding("position_embeddings", length, hidden)
        if types:
            parts.embedding("token_type_embeddings", types, hidden)
        parts.norm("LayerNorm", hidden, bias=True)


def _task_head(
    parts: Parts, config: Config, names: Names, architecture: str, hidden: int, vocabulary: int
) -> tuple[tuple[str, str], ...]:
    """Write the head of the class; the tensors that are tied."""
    if architecture.endswith(CLASSIFIER):
        if names is DISTILBERT:
            parts.linear("pre_classifier", hidden, hidden, bias=True)
        if names in (BERT, DISTILBERT):
            parts.linear("classifier", hidden, labels(config), bias=True, group="head")
        else:
            parts.linear("classifier.dense", hidden, hidden, bias=True)
            parts.linear("classifier.out_proj", hidden, labels(config), bias=True, group="head")
        return ()
    if not architecture.endswith("ForMaskedLM"):
        return ()
    table = f"{names.base}.embeddings.word_embeddings.weight"
    tied = config.flag("tie_word_embeddings", True)
    bias = Tensor("bias", (vocabulary,), "other")
    weight = () if tied else (Tensor("weight", (vocabulary, hidden), "head", hidden),)
    if names is DISTILBERT:
        parts.linear("vocab_transform", hidden, hidden, bias=True)
        parts.norm("vocab_layer_norm", hidden, bias=True)
        parts.add("vocab_projector", *weight, bias)
        return (("vocab_projector.weight", table),) if tied else ()
    head, transform, norm = (
        ("cls.predictions", "transform.dense", "transform.LayerNorm")
        if names is BERT
        else ("lm_head", "dense", "layer_norm")
    )
    parts.add(head, bias)
    with parts.inside(head):
        parts.linear(transform, hidden, hidden, bias=True)
        parts.norm(norm, hidden, bias=True)
        parts.add("decoder", *weight, *(() if tied else (bias,)))
    if not tied:
        return ()
    return ((f"{head}.decoder.weight", table), (f"{head}.decoder.bias", f"{head}.bias"))
