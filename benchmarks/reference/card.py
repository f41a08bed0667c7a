"""The model card that lies beside the weights."""

from __future__ import annotations

from typing import Any

from benchmarks.reference.results import table


def card(document: dict[str, Any]) -> str:
    """The card with the figures of one run of this benchmark filled in."""
    protocol, training, data = document["protocol"], document["training"], document["data"]
    phases = ", then ".join(
        f"{phase['steps']:,} of {phase['batch']} × {phase['length']:,} tokens" for phase in protocol["phases"]
    )
    documents = ", ".join(
        f"{split} {part['documents']:,} documents / {part['bytes'] / 1e6:.2f} MB"
        for split, part in data["splits"].items()
    )
    return CARD.format(
        **{name: value for name, value in protocol.items() if name not in ("phases", "decay")},
        parameters=document["model"]["parameters"],
        megabytes=document["model"]["bytes"] / 1e6,
        sha256=document["model"]["sha256"],
        python=data["python"],
        digest=data["digest"],
        documents=documents,
        phases=phases,
        tokens=training["tokens"],
        passes=training["passes"],
        minutes=training["wall_s"] / 60,
        cpu=document["machine"]["cpu"],
        torch=document["machine"]["torch"],
        remarks=" ".join(training["remarks"]),
        best=training["released_step"],
        decay=f"{protocol['decay']:.0%}",
        table=table(document["figures"]),
        prompt=document["sample"]["prompt"],
        continuation=document["sample"]["greedy"],
        steps=training["steps"],
    )


CARD = """\
---
language: en
library_name: transformers
pipeline_tag: text-generation
license: apache-2.0
---

# reference-lm

A Llama of {parameters:,} parameters that has read nothing but Python's own documentation. It is there to be
compressed: small enough to lie in a repository, trained well enough that what a compression step destroys
shows in its perplexity.

It has no use of its own. It knows no facts, follows no instructions, and what it says about Python is as
often wrong as right, however much it sounds like the manual. How well a method does on it need not be how
well it does on a large model. It has read its train split so often that it predicts it far better than text
it has not seen: judge on the test split.

## Model

`LlamaForCausalLM`, {layers} layers, hidden size {hidden}, MLP {intermediate}, {heads} query heads on
{kv_heads} key-value heads (grouped queries), rotary positions, context {context:,} tokens, embeddings tied
to the output. Weights in float32, {megabytes:.2f} MB of safetensors, SHA-256
`{sha256}`.

The tokenizer is a byte-level BPE of {vocabulary:,} tokens, learned from the train split alone.
`<|endoftext|>` (1) begins every text and ends it; `<|padding|>` (0) pads; 2 is reserved; byte *b* is token
*b* + 3.

## Data

`{{use: python-docs, form: text}}` of Python {python}: every docstring of the standard library's source
(tests and IDLE left out) and every section of the language reference in `pydoc_data.topics`, each document
once. The SHA-256 of a document's text decides its split: {documents}. Digest of the data set:
`{digest}`.

The texts are © the Python Software Foundation and other contributors, under the PSF License Agreement; the
examples in the documentation are also under the Zero-Clause BSD licence. The weights are released like the
rest of this distribution. Having read the texts {passes:.0f} times, the model can repeat passages of them.

## Training

`python -m benchmarks.reference --out DIR`, seed {seed}: {steps:,} steps ({phases}), {tokens:,} tokens;
AdamW with weight decay {weight_decay}, learning rate {learning_rate} after {warmup} steps of warm-up,
linear to zero over the last {decay}, dropout {dropout}, products in bfloat16. The checkpoint of lowest
validation loss is kept: that of step {best:,}. It took {minutes:.0f} minutes with {workers} processes of
one thread on {cpu}, PyTorch {torch}, while other work ran on the same cores.
{remarks}
Another machine gives other weights of the same quality: sums are taken in another order there.

## Figures

{table}

After `{prompt}`, taking the likeliest token each time:

```text
{continuation}
```
"""
