"""Stages of the toy format."""

import os
import pickle
import shutil
import signal
import time

from pydantic import Field
from safetensors.numpy import load_file, save_file

from modelwright import Model, Stage, StageContext
from toy_plugin.bag import WEIGHTS


class Scale(Stage, name="toy.scale", takes="bag", gives="bag", fidelity="approximate"):
    """Multiply the table; `seconds` makes it take its time."""

    factor: float = Field(2.0, gt=0, description="What to multiply with.")
    seconds: float = Field(0.0, ge=0, description="How long to take.")
    data: str | None = Field(None, description="A data set to read.")

    def run(self, model: Model, ctx: StageContext) -> None:
        ctx.log.info("scaling by %s", self.factor)
        if self.data:
            ctx.record("texts", len(ctx.data(self.data, "calibration")))
        ends = time.monotonic() + self.seconds
        while time.monotonic() < ends:
            ctx.progress(1, 2, "thinking")
            time.sleep(0.01)
        shutil.copyfile(model.path / "tokenizer.json", ctx.out / "tokenizer.json")
        save_file({"table": load_file(model.path / WEIGHTS)["table"] * self.factor}, ctx.out / WEIGHTS)


class Retrain(Scale, name="toy.retrain", fidelity="retrained"):
    """The same, said to be retrained."""


class Seal(Scale, name="toy.int8", adds=("int8",), refuses={"int8": "it is in 8 bits already"}):
    """Marks its result."""


class NeedsInt8(Scale, name="toy.after_int8", needs=("int8",)):
    """Runs only after it."""


class Unseal(Scale, name="toy.float", drops=("int8",)):
    """Loses the mark."""


class Broken(Stage, name="toy.broken", takes="bag", gives="bag"):
    """Fails in a way of your choice."""

    how: str = Field(description="raise, crash, nothing, pickle, link, record, orphan, full")

    def run(self, model: Model, ctx: StageContext) -> None:
        if self.how == "raise":
            raise ValueError("the toy broke")
        if self.how == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.how == "pickle":
            shutil.copytree(model.path, ctx.out, dirs_exist_ok=True)
            (ctx.out / "extra.pkl").write_bytes(pickle.dumps({"a": 1}))
        if self.how == "link":
            shutil.copytree(model.path, ctx.out, dirs_exist_ok=True)
            (ctx.out / "link").symlink_to(model.path)
        if self.how == "record":
            ctx.record("loss", float("nan"))
        if self.how == "orphan":  # dies while a child of its own holds what it had open
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "full":
            for index in range(10_000):
                (ctx.out / f"{index}.raw").write_bytes(bytes(1 << 20))


class Rare(Stage, name="toy.rare", takes="bag", gives="bag", requires=("not-installed-anywhere>=1",)):
    """Needs a package that nobody has."""

    def run(self, model: Model, ctx: StageContext) -> None:
        raise AssertionError("never reached")
