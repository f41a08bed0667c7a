import json
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from modelwright.api.dataset import SPLITS
from modelwright.errors import RecipeError
from modelwright_plugins.dataset.huggingface import HuggingFace
from modelwright_plugins.dataset.splits import Shares


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    module = pytest.importorskip("datasets", reason="the library datasets is not installed (extra 'data')")
    monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return module


@pytest.fixture
def saved(datasets, tmp_path):
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["negativ", "positiv"])}
    )
    parts = {
        "train": {
            "sentence": [f"Satz {n} über 日本" for n in range(400)],
            "label": [n % 2 for n in range(400)],
        },
        "dev": {"sentence": ["geprüft", "SATZ 1 über 日本"], "label": [1, 1]},
        "test": {"sentence": ["ein Test", "ohne Klasse"], "label": [0, -1]},
        "unsupervised": {"sentence": ["nicht gelesen"], "label": [-1]},
    }
    built = {name: datasets.Dataset.from_dict(part, features=features) for name, part in parts.items()}
    datasets.DatasetDict(built).save_to_disk(str(tmp_path / "gespeichert"))
    return tmp_path / "gespeichert"


def test_a_saved_folder_keeps_its_splits_and_names_its_labels(saved):
    dataset = HuggingFace(path=saved, text="sentence")
    dataset.check()
    assert dataset.columns() == {"text", "label"}
    assert dataset.load("test") == [{"text": "ein Test", "label": "negativ"}]
    assert dataset.load("validation") == [{"text": "geprüft", "label": "positiv"}]
    assert len(dataset.load("train")) + len(dataset.load("calibration")) == 400
    assert len(dataset.load("calibration")) == pytest.approx(400 / 6, abs=25)


def test_splits_can_be_named(saved):
    dataset = HuggingFace(path=saved, text="sentence", splits={"train": "train", "test": "dev"})
    assert {record["text"] for record in dataset.load("test")} == {"geprüft"}
    assert len(dataset.load("validation")) > 5
    with pytest.raises(RecipeError, match="no split 'tests'") as caught:
        HuggingFace(path=saved, text="sentence", splits={"test": "tests"}).check()
    assert "did you mean 'test'?" in str(caught.value)


def test_a_saved_table_without_splits_is_cut_by_content(datasets, tmp_path):
    datasets.Dataset.from_dict({"text": [f"text {n}" for n in range(200)]}).save_to_disk(
        str(tmp_path / "flat")
    )
    dataset = HuggingFace(path=tmp_path / "flat", limit=10)
    assert [len(dataset.load(split)) for split in SPLITS] == [10, 10, 10, 10]


def test_a_folder_of_files(datasets, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        rows = [json.dumps({"query": f"{split} {n}", "passage": f"reply {split} {n}"}) for n in range(60)]
        (folder / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    dataset = HuggingFace(path=folder)
    assert dataset.columns() == {"query", "passage"}
    assert all(record["query"].startswith("test") for record in dataset.load("test"))
    digest = dataset.digest()
    assert digest != HuggingFace(path=folder, shares=Shares(test=1)).digest()
    (folder / "test.jsonl").write_text('{"query": "test new", "passage": "other"}', encoding="utf-8")
    assert dataset.digest() != digest
    assert dataset.load("test") == [{"query": "test new", "passage": "other"}]


def test_what_cannot_be_opened_is_named(datasets, saved, tmp_path):
    with pytest.raises(RecipeError, match="There is no") as caught:
        HuggingFace(path=saved.with_name("gespeicher")).check()
    assert "did you mean 'gespeichert'?" in str(caught.value)
    with pytest.raises(RecipeError, match="No column is named") as caught:
        HuggingFace(path=saved).check()
    assert "sentence, label" in str(caught.value)
    (tmp_path / "leer").mkdir()
    with pytest.raises(RecipeError, match=r"cannot open .*leer"):
        HuggingFace(path=tmp_path / "leer").check()


def test_the_hub_out_of_reach_is_something_missing(datasets, tmp_path):
    code = (
        "from modelwright_plugins.dataset.huggingface import HuggingFace\n"
        "from modelwright.errors import MissingError\n"
        "try: HuggingFace(hub_id='nobody/nothing').check()\n"
        "except MissingError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "The hub does not serve 'nobody/nothing' here" in done.stdout


def test_a_full_commit_pins_the_digest_without_the_hub():
    commit = "0123456789abcdef0123456789abcdef01234567"
    first = HuggingFace(hub_id="org/name", revision=commit).digest()
    assert first == HuggingFace(hub_id="org/name", revision=commit).digest()
    assert first != HuggingFace(hub_id="org/name", revision=commit[::-1]).digest()


@pytest.mark.parametrize("source", [{}, {"path": "a", "hub_id": "b"}, {"path": "a", "revision": "main"}])
def test_one_source_is_given(source):
    with pytest.raises(ValidationError, match="hub_id"):
        HuggingFace(**source)
