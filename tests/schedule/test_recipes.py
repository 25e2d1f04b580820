"""The recipes of docs/own-loop.md for Lightning and BasicSR do what a plain loop does, stand-ins where those lack."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fxprune
from fxprune.schedule import Pruner
from tests.schedule.test_pruner import ASSL, EXAMPLE, SRP, batch, edsr

PAGE = Path(__file__).parent.parent.parent / "docs" / "own-loop.md"
RATE = 0.05


def recipe(holds: str) -> str:
    """The block of the page with some code in it."""
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = (block for block in blocks if holds in block)
    return str(found)


def defined(code: str, modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a block defines, with some modules in place of what it imports."""
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def plain(spec: str, accumulate: int = 1) -> dict[str, torch.Tensor]:
    """The loop of the docs; the compact network's weights."""
    model = edsr()
    pruner = Pruner(spec, model, EXAMPLE)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    number = 0
    while not pruner.done:
        for _ in range(accumulate):
            given, target = batch(number)
            (F.l1_loss(model(given), target) / accumulate).backward()
            number += 1
        pruner.before_step()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
    return dict(pruner.cut().module.state_dict())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- Lightning ---------------------------------------------------------------------------------------------------------


class Trainer:
    """Calls the hooks of a callback in Lightning's order: setup, optimizers, then batch by batch."""

    def __init__(self, callback: Any, accumulate: int) -> None:
        self.callback, self.accumulate = callback, accumulate
        self.global_step, self.should_stop = 0, False
        self.strategy = SimpleNamespace(broadcast=lambda decided: decided)

    def fit(self, module: Any) -> None:
        """Until it should stop; gradients are cleared before backward."""
        self.callback.setup(self, module, "fit")
        optimizer = module.configure_optimizers()
        self.callback.on_train_start(self, module)
        number = 0
        while not self.should_stop:
            loss = module.training_step(batch(number), number) / self.accumulate
            if number % self.accumulate == 0:
                optimizer.zero_grad()
            loss.backward()
            if (number + 1) % self.accumulate == 0:
                self.callback.on_before_optimizer_step(self, module, optimizer)
                optimizer.step()
                self.global_step += 1
            self.callback.on_train_batch_end(self, module, loss, batch(number), number)
            number += 1


class Upscaler:
    """What a user's LightningModule has, apart from the library."""

    net: nn.Module

    def training_step(self, pair: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        given, target = pair
        return F.l1_loss(self.net(given), target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), lr=RATE)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("spec", [SRP, ASSL], ids=["SRP", "ASSL"])
def test_lightning(spec: str, accumulate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = ModuleType("lightning")
    lightning.Callback = object  # type: ignore[attr-defined]
    names = defined(recipe("class Pruning"), {"lightning": lightning}, monkeypatch)
    pruning = names["Pruning"](spec, EXAMPLE)
    module = Upscaler()
    module.net = edsr()
    Trainer(pruning, accumulate).fit(module)
    assert same(dict(pruning.pruner.cut().module.state_dict()), plain(spec, accumulate))


def test_lightning_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that got its state back has the pruner where it was."""
    lightning = ModuleType("lightning")
    lightning.Callback = object  # type: ignore[attr-defined]
    make = defined(recipe("class Pruning"), {"lightning": lightning}, monkeypatch)["Pruning"]
    first, again = make(ASSL, EXAMPLE), make(ASSL, EXAMPLE)
    trainer = Trainer(None, 1)
    for callback in (first, again):
        callback.setup(trainer, SimpleNamespace(net=edsr()), "fit")
    for _ in range(6):
        first.pruner.after_step()
    again.load_state_dict(first.state_dict())
    assert again.pruner.state_dict() == first.pruner.state_dict()


@pytest.mark.skipif(importlib.util.find_spec("pytorch_lightning") is None, reason="Lightning is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_lightning_itself(accumulate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = importlib.import_module("pytorch_lightning")
    pruning = defined(recipe("class Pruning"), {"lightning": lightning}, monkeypatch)["Pruning"](ASSL, EXAMPLE)

    class Module(Upscaler, lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = edsr()

    class Batches(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return (batch(number) for number in range(1000))

    trainer = lightning.Trainer(
        max_epochs=-1,
        callbacks=[pruning],
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(Batches(), batch_size=None))
    assert same(dict(pruning.pruner.cut().module.state_dict()), plain(ASSL, accumulate))


# -- BasicSR -----------------------------------------------------------------------------------------------------------


class SRModel:
    """What basicsr.models.sr_model.SRModel does in training, in its order."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.net_g = self.model_to_device(edsr())
        self.init_training_settings()

    def model_to_device(self, net: nn.Module) -> nn.Module:
        return nn.Sequential(net)  # a wrapper

    def get_bare_model(self, net: Any) -> nn.Module:
        bare: nn.Module = net[0]
        return bare

    def init_training_settings(self) -> None:
        self.net_g.train()
        self.setup_optimizers()

    def setup_optimizers(self) -> None:
        self.optimizer_g = torch.optim.SGD([p for p in self.net_g.parameters() if p.requires_grad], lr=RATE)

    def optimize_parameters(self, current_iter: int) -> None:
        given, target = batch(current_iter)
        self.optimizer_g.zero_grad()
        F.l1_loss(self.net_g(given), target).backward()
        self.optimizer_g.step()

    def save(self, epoch: int, current_iter: int) -> None:
        """Weights and state."""


class Registry:
    """Registers, and hands back."""

    def register(self) -> Callable[[Any], Any]:
        return lambda made: made


@pytest.mark.parametrize("spec", [SRP, ASSL], ids=["SRP", "ASSL"])
def test_basicsr(spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model_module, registry = ModuleType("sr_model"), ModuleType("registry")
    model_module.SRModel = SRModel  # type: ignore[attr-defined]
    registry.ARCH_REGISTRY = registry.MODEL_REGISTRY = Registry()  # type: ignore[attr-defined]
    modules = {"basicsr": ModuleType("basicsr"), "basicsr.models": ModuleType("models")}
    modules |= {"basicsr.models.sr_model": model_module, "basicsr.utils": ModuleType("utils")}
    names = defined(recipe("class PrunedSRModel"), {**modules, "basicsr.utils.registry": registry}, monkeypatch)
    options = {"train": {"prune": spec, "compact": str(tmp_path / "out")}, "rank": 0}
    model = names["PrunedSRModel"](options)
    step = 0
    while not model.pruner.done:
        model.save(0, step)  # nothing to cut yet
        model.optimize_parameters(step)
        step += 1
    assert not (tmp_path / "out").exists()
    model.optimize_parameters(step)  # one more does no harm to the schedule
    expected = plain(spec)
    model.save(0, step)
    compact = names["Compact"](str(tmp_path / "out"))
    assert {n: t.shape for n, t in compact.state_dict().items()} == {n: t.shape for n, t in expected.items()}
    assert isinstance(fxprune.load(tmp_path / "out"), nn.Module)


def test_hooks_of_the_optimizer_do_what_the_loop_does() -> None:
    """The BasicSR recipe's way, in a plain loop, bit by bit."""
    model = edsr()
    pruner = Pruner(SRP, model, EXAMPLE)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    optimizer.register_step_pre_hook(lambda *_: pruner.before_step())
    optimizer.register_step_post_hook(lambda *_: pruner.after_step())
    number = 0
    while not pruner.done:
        given, target = batch(number)
        optimizer.zero_grad()
        F.l1_loss(model(given), target).backward()
        optimizer.step()
        number += 1
    assert same(dict(pruner.cut().module.state_dict()), plain(SRP))
