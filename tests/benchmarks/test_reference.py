import json
import math

import numpy as np
import pytest
from benchmarks.reference.baselines import bigram, bigram_loss, unigram, unigram_loss
from benchmarks.reference.corpus import encoded, sequences, stream
from benchmarks.reference.near_copies import near_copies
from benchmarks.reference.protocol import Phase, Protocol
from benchmarks.reference.schedule import batches, learning_rate
from benchmarks.reference.vocabulary import END, byte_symbols, learn
from tokenizers import Tokenizer

TEXTS = [
    f"Return the value number {number} of the list, or None.\n\n>>> f({number})\n" for number in range(60)
]
TINY = Protocol(
    vocabulary=300,
    hidden=32,
    intermediate=32,
    layers=1,
    heads=4,
    context=32,
    phases=(Phase(20, 2, 16), Phase(4, 2, 32)),
    warmup=4,
)


@pytest.fixture(scope="module")
def tokenizer():
    return learn(TEXTS, TINY.vocabulary)


def test_any_text_comes_back_from_its_ids(tokenizer):
    for text in (*TEXTS[:3], " two  spaces\ttab\n\n\nzażółć gęślą jaźń 🐍", ""):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_ids_are_in_the_order_of_llama2c(tokenizer):
    assert tokenizer.get_vocab_size() == 300
    assert tokenizer.token_to_id(END) == 1
    assert [tokenizer.token_to_id(symbol) for symbol in byte_symbols()] == list(range(3, 259))
    assert tokenizer.encode("x").ids == [1, ord("x") + 3]


def test_the_stream_has_the_end_token_before_between_and_after(tokenizer):
    ids = stream(tokenizer, encoded(tokenizer, ["a", "b"]))
    assert ids.tolist() == [1, ord("a") + 3, 1, ord("b") + 3, 1]


def test_sequences_pass_through_everything_again_and_again(tokenizer):
    rows = encoded(tokenizer, TEXTS)
    supply = sequences(tokenizer, rows, 16, np.random.default_rng(0))
    total = sum(map(len, rows))
    drawn = np.stack([next(supply) for _ in range(5 * total // 16)])
    counts = np.bincount(drawn.ravel(), minlength=300) / 5
    assert np.allclose(counts, np.bincount(np.concatenate(rows), minlength=300), atol=12)


def test_batches_follow_from_seed_and_step(tokenizer):
    rows = encoded(tokenizer, TEXTS)
    whole = list(batches(TINY, tokenizer, rows, 0))
    assert [batch.shape for batch in whole] == [(2, 16)] * 20 + [(2, 32)] * 4
    for mine, other in zip(whole[13:], batches(TINY, tokenizer, rows, 13), strict=True):
        assert np.array_equal(mine, other)


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    protocol = Protocol(phases=(Phase(1000, 1, 16),), warmup=100, decay=0.3, learning_rate=0.5)
    rates = [learning_rate(protocol, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.005)
    assert set(rates[99:700]) == {0.5}
    assert rates[850] == pytest.approx(0.25)
    assert 0 < rates[-1] < 0.002


def test_baselines_are_distributions_and_know_what_follows():
    train = np.array([1, 2, 3] * 50 + [4])
    assert unigram(train, 6).sum() == pytest.approx(1)
    assert np.allclose(bigram(train, 6).sum(axis=1), 1)
    assert (bigram(train, 6) > 0).all()
    assert bigram(train, 6)[2, 3] > 0.97
    judged = np.array([1, 2, 3, 1, 2, 3])
    assert bigram_loss(train, judged, 6) < 0.1 < 1 < unigram_loss(train, judged, 6) < math.log(6)


def test_near_copies_share_half_of_their_runs_of_words():
    train = ["one two three four five six seven eight nine ten eleven twelve", "A short text."]
    judged = [
        "One two three four five six seven eight nine TEN",
        "one two three four five six seven nine eight ten eleven twelve",
        "short text",
        "other text",
    ]
    assert near_copies(train, judged) == [True, False, True, False]


def test_each_token_is_judged_once_whatever_the_windows():
    torch = pytest.importorskip("torch", reason="needs the extra cpu")
    from benchmarks.reference.evaluate import sliding_loss

    class Constant(torch.nn.Module):
        """Finds each token as likely wherever it stands, so that no window can change the sum."""

        def forward(self, input_ids, use_cache):
            scores = torch.log(torch.tensor([0.5, 0.25, 0.125, 0.125]))
            logits = scores.expand(*input_ids.shape, 4)
            return type("Output", (), {"logits": logits})()

    tokens = np.random.default_rng(0).integers(0, 4, 101)
    expected = -np.log(np.array([0.5, 0.25, 0.125, 0.125])[tokens[1:]]).mean()
    for length, stride in ((101, 50), (500, 100), (16, 8), (16, 15), (10, 1), (7, 5)):
        loss, judged = sliding_loss(Constant(), tokens, length, stride)
        assert judged == 100
        assert loss == pytest.approx(expected, rel=1e-5)


def test_a_training_learns_and_what_it_leaves_is_a_checkpoint(tokenizer, tmp_path):
    pytest.importorskip("transformers", reason="needs the extra cpu")
    from benchmarks.reference.checkpoint import save
    from benchmarks.reference.train import train
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = encoded(tokenizer, TEXTS)
    model, curve = train(TINY, tokenizer, rows[10:], rows[:10], tmp_path / "work")
    assert curve[-1]["step"] == TINY.steps
    assert curve[-1]["validation"] < math.log(300)
    again, same = train(TINY, tokenizer, rows[10:], rows[:10], tmp_path / "work")
    assert same == curve  # nothing is trained anew
    for mine, other in zip(model.parameters(), again.parameters(), strict=True):
        assert mine.equal(other)
    with pytest.raises(ValueError, match="another protocol"):
        train(Protocol(), tokenizer, rows, rows, tmp_path / "work")
    save(model, tokenizer, tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "np") as file:
        assert "model.embed_tokens.weight" in file.keys()  # noqa: SIM118 - not a dictionary
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.get_output_embeddings().weight.equal(model.get_input_embeddings().weight)
    ids = AutoTokenizer.from_pretrained(tmp_path / "out")(TEXTS[0]).input_ids
    assert ids == Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).encode(TEXTS[0]).ids
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 1, 0)
