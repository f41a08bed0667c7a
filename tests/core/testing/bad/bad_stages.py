"""A plugin with one good stage and several that each break one rule of the conformance tests."""

import os
import pickle
import shutil

import numpy as np
from safetensors.numpy import load_file, save_file

from modelwright import Field, Stage, hookimpl


class Good(Stage, name="bad.good", takes="torch", gives="torch", fidelity="exact", adds=("copied",)):
    """Copies."""

    times: int = Field(1, ge=1, description="How often.")

    def run(self, model, ctx):
        for file in model.path.rglob("*"):
            if file.is_file() and file.name != "modelwright.json":
                (ctx.out / file.relative_to(model.path)).parent.mkdir(exist_ok=True)
                shutil.copyfile(file, ctx.out / file.relative_to(model.path))
        ctx.record("times", self.times)


class Particular(Good, name="bad.particular", needs=("copied",)):
    """Takes only what another stage has made, and reads data."""

    data: str = Field("texts", description="Whose calibration split is counted.")

    def run(self, model, ctx):
        super().run(model, ctx)
        assert len(ctx.data(self.data, "calibration")) > 10


class Needy(Good, name="bad.needy", requires=("onnx",)):
    """Says that it needs onnx."""


class Forgetful(Good, name="bad.forgetful"):
    """Needs a distribution and does not find it missing."""

    requires = ("onnx",)

    @classmethod
    def missing(cls):
        return []


class Unregistered(Good, name="bad.unregistered"):
    """Nobody yields it."""


class Silent(Good, name="bad.silent"):
    """Does not explain its parameter."""

    strength: float = 1.0


class Lenient(Good, name="bad.lenient"):
    """Accepts anything."""

    model_config = {"extra": "ignore"}  # noqa: RUF012 - pydantic's own


class Chancy(Good, name="bad.chancy"):
    """Writes something else every time."""

    def run(self, model, ctx):
        super().run(model, ctx)
        (ctx.out / "notes.txt").write_text(os.urandom(8).hex())


class Meddler(Good, name="bad.meddler"):
    """Writes into its input."""

    def run(self, model, ctx):
        super().run(model, ctx)
        (model.path / "notes.txt").write_text("mine")


class Pickler(Good, name="bad.pickler"):
    """Hides a pickle under another suffix."""

    def run(self, model, ctx):
        super().run(model, ctx)
        (ctx.out / "extra.data").write_bytes(pickle.dumps({"a": 1}))


class Breaker(Good, name="bad.breaker"):
    """Leaves weights that are no numbers."""

    def run(self, model, ctx):
        super().run(model, ctx)
        file = ctx.out / "model.safetensors"
        save_file({name: weight * np.float32("nan") for name, weight in load_file(file).items()}, file)


@hookimpl
def modelwright_stages():
    yield from (Good, Particular, Needy, Forgetful, Silent, Lenient, Chancy, Meddler, Pickler, Breaker)
