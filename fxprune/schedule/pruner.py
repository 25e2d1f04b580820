"""A spec + a live model → what each training step needs: regularisation before it, the schedule's advance after it.

```python
pruner = fxprune.Pruner(spec, model)              # before the optimizer: `weight_norm` changes parameters
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
while not pruner.done:
    loss = criterion(model(lr), hr)
    loss.backward()
    pruner.before_step()                          # adds the gradient of the penalty
    optimizer.step()
    optimizer.zero_grad()
    pruner.after_step()
compact = pruner.cut().module
```
With gradient accumulation, call `before_step` and `after_step` once per optimizer step. With AMP's scaler, call
`scaler.unscale_(optimizer)` before `before_step`. Under DDP give it the model that DDP wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fxprune.errors import PlanError, RewriteError
from fxprune.groups import Groups, guard
from fxprune.groups.labels import Ids
from fxprune.lang import CRITERIA, Cut, KeepCount, Mark, Norm, Spec, parse
from fxprune.lang.ast import Selecting
from fxprune.models import inputs_of
from fxprune.plan import Calibration, Plan, make_plan
from fxprune.plan.select import check_spec
from fxprune.schedule.aligner import Aligner
from fxprune.schedule.cutting import NOT_SELECTED, Cutting, cut, in_names, in_units, key_of, plan_of
from fxprune.schedule.discovery import find_groups
from fxprune.schedule.live import add_weight_norm
from fxprune.schedule.penalty import Cohort, norms
from fxprune.schedule.program import Item, Program, Rewind, Run, Save, WeightNorm, program
from fxprune.schedule.regularisers import Standing, growing_groups, make_aligners, make_cohorts

__all__ = ["Pruner"]

Act = Callable[[Save | Rewind], None]
_ONE = KeepCount(1)  # an amount that takes something of every open group


class Pruner:
    """The pruning side of a training loop, up to the next cut of a spec.

    Args:
        spec: a `Spec`, the text of one, a path, or a program made of one.
        model: the live network, raw (not wrapped by DDP); `weight_norm` changes it in place.
        example: an input tensor, or a tuple of inputs; 1×3×48×48 in [0, 1] if left out.
        calibration: a batch for criteria that need data, or a function that gives one.
        at: the item of the program to start from: `pruner.item_number + 1` of the one before, after its cut.
        epoch: training steps of an epoch, for phases measured in epochs.
        act: does the program's `save` and `rewind`; without it they are refused.
        agree: makes what is decided the same on all processes: rank 0's, broadcast.
        sizes: heights and widths of images that the network is known to take: each cut is verified there first.
        check: rehearse each mark's cut at once, so that what cannot be cut exactly is known before training.

    Raises:
        SpecError, PlanError, TraceError, InputError: the spec, the plan or the network won't do.
    """

    def __init__(
        self,
        spec: Spec | str | Path | Program,
        model: nn.Module,
        example: Any = None,
        *,
        calibration: Calibration | Callable[[], Calibration] | None = None,
        at: int = 0,
        epoch: int | None = None,
        act: Act | None = None,
        agree: Callable[[Any], Any] = lambda decided: decided,
        sizes: Sequence[tuple[int, int]] = (),
        check: bool = True,
        resuming: bool = False,
    ) -> None:
        self.program = spec if isinstance(spec, Program) else program(spec if isinstance(spec, Spec) else parse(spec))
        self.model = model
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.example = pytree.tree_map_only(Tensor, lambda x: x.to(device), inputs_of(model, example))
        self.calibration, self.epoch, self.act, self.agree, self.check = calibration, epoch, act, agree, check
        self.sizes = tuple(sizes)
        self.item_number = at
        self.step = 0  # steps done of the present run
        self.generation = 0  # grows when the model's parameters are others, or were set anew
        self.alphas: dict[str, Fraction] = {}  # strength of the penalty before the present run, by group
        self.on_scale: dict[str, bool] = {}
        self.normed: tuple[str, ...] = ()
        self.marked: Ids = np.empty(0, np.int64)
        self.why: dict[str, str] = {}
        self.guards: tuple[str, ...] = ()
        self.cohorts: tuple[Cohort, ...] = ()
        self.aligners: tuple[Aligner, ...] = ()
        self.length: int | None = None  # steps of the present run; None: until `end_run`
        self.groups = self._discover()
        if at == 0 and not resuming:
            check_spec(self.groups, self.program.spec)  # not only when a phase is reached, after hours of training
        if not resuming:
            self._advance()

    # -- where it stands -----------------------------------------------------------------------------------------------

    @property
    def item(self) -> Item | None:
        """The phase that is due; None at the end."""
        items = self.program.items
        return items[self.item_number] if self.item_number < len(items) else None

    @property
    def run(self) -> Run | None:
        """The phase that takes training steps now."""
        item = self.item
        return item if isinstance(item, Run) else None

    @property
    def done(self) -> bool:
        """No more steps before the cut: it is time to call `cut`."""
        return self.run is None

    @property
    def strongest(self) -> float:
        """The largest α at the coming step."""
        return max((float(cohort.alpha(self.step)) for cohort in self.cohorts), default=0.0)

    def norms(self) -> tuple[float, float]:
        """Mean ‖w‖₂ of the filters that are kept, and of those that are marked."""
        return norms(self.model, self.groups, self.marked)

    def agreement(self) -> dict[str, float]:
        """How far the layers of each group being aligned agree on what to keep, in [0, 1]."""
        return {aligner.name: aligner.agreement() for aligner in self.aligners}

    def marks(self) -> dict[str, tuple[int, ...]]:
        """The marked filters: name of the weight → indices."""
        return {name: next(iter(dims.values())) for name, dims in in_names(self.groups, self.marked).items()}

    # -- a training step -----------------------------------------------------------------------------------------------

    def penalty(self) -> Tensor:
        """The regularisation at the coming step, ½αΣ‖w_j‖² + the alignment loss: a number to log.

        It carries no gradient: `before_step` adds that. So adding it to the loss changes nothing but the number.
        """
        total = torch.zeros((), device=next(self.model.parameters()).device)
        for cohort in self.cohorts:
            total = total + cohort.penalty.value(float(cohort.alpha(self.step)))
        for aligner in self.aligners:
            total = total + aligner.value()
        return total

    def before_step(self) -> None:
        """Add the gradient of the regularisation to `.grad`; after the loss's backward, before `optimizer.step`."""
        for cohort in self.cohorts:
            cohort.penalty.add_gradient(float(cohort.alpha(self.step)))
        for aligner in self.aligners:
            aligner.add_gradient()

    def after_step(self) -> None:
        """One optimizer step was made: move on, to the next phase when this one is over."""
        if self.run is None:
            raise PlanError("no steps are left before the cut", hint="call cut() when `pruner.done`")
        self.step += 1
        if self.length is not None and self.step >= self.length:
            self.end_run()

    def end_run(self) -> None:
        """End the present run, however long it was to be, and go to the next."""
        for cohort in self.cohorts:
            self.alphas.update(dict.fromkeys(cohort.keys, cohort.alpha(self.step - 1)))
        self.item_number += 1
        self._advance()

    def cut(self) -> Cutting:
        """Cut the marked units, or those the spec's cut chooses, and prove the result.

        Raises:
            PlanError: steps are left to train; the spec cuts nothing.
            VerifyError: the compact network differs from the masked one.
        """
        statement = self.item
        if isinstance(statement, Run):
            left = "" if self.length is None else f"{self.length - self.step} steps of "
            raise PlanError(f"it is not time to cut: {left}`{statement.word}` are left", hint="train until pruner.done")
        if not isinstance(statement, Cut):
            raise PlanError("the plan cuts nothing", hint="add a line such as: cut filters 50%")
        self.groups = self._rediscover()
        native = any(n.mode == "native" for n in self.program.spec.of(Norm))
        return cut(self._plan(statement), native=native, sizes=self.sizes)

    # -- saving --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, as plain values: to be kept with the model's and the optimizer's state."""
        names = in_names(self.groups, self.marked)
        return {
            "item": self.item_number,
            "step": self.step,
            "length": self.length,
            "marks": {name: {str(dim): list(at) for dim, at in dims.items()} for name, dims in names.items()},
            "why": dict(self.why),
            "alphas": {key: [value.numerator, value.denominator] for key, value in self.alphas.items()},
            "on_scale": dict(self.on_scale),
            "normed": list(self.normed),
            "guards": list(self.guards),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state_dict` was called. Comes before the model's own state: it adds weight norm again.

        Raises:
            PlanError: the state is that of another spec or network.
        """
        if not 0 <= state["item"] <= len(self.program.items):
            raise PlanError("this state is that of another spec")
        self.item_number, self.step = state["item"], state["step"]
        dims = {m.tensor: m.dim for group in self.groups for m in group.members if m.role == "out"}
        self.normed = tuple(state["normed"])
        add_weight_norm(self.model, [(name, dims[name]) for name in self.normed if name in dims])
        self.guards = tuple(state["guards"])
        self.groups = self._discover()
        marks = {name: {int(dim): tuple(at) for dim, at in dims.items()} for name, dims in state["marks"].items()}
        self.marked = in_units(self.groups, marks)
        self.why = dict(state["why"])
        self.alphas = {key: Fraction(*pair) for key, pair in state["alphas"].items()}
        self.on_scale = dict(state["on_scale"])
        if self.run is not None:
            self._begin(self.run, self.step)
        self.length = state["length"]

    # -- the program ---------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Do what is instantaneous, up to the next run of steps, cut, or the end."""
        self.cohorts, self.aligners, self.step, self.length = (), (), 0, None
        while (item := self.item) is not None:
            if isinstance(item, Cut):
                return
            if isinstance(item, Run):
                if self._begin(item, 0) != 0:
                    return
                self.cohorts, self.aligners = (), ()
            elif isinstance(item, Mark):
                self._mark(item)
            elif isinstance(item, WeightNorm):
                self._weight_norm(item)
            elif self.act is None:
                word = type(item).__name__.lower()
                raise PlanError(f"`{word}` is the trainer's: in a loop of your own, keep the model's state yourself")
            else:
                self.act(item)
                self.generation += isinstance(item, Rewind)
            self.item_number += 1

    def _begin(self, run: Run, step: int) -> int | None:
        """Make ready for a run of steps; its length, if that is known."""
        self.step = step
        marked = [g for g in self.groups if np.isin(g.units, self.marked).any()]
        growing = growing_groups(self.groups, run, marked)
        if run.shrink is not None:
            self.on_scale.update(dict.fromkeys(growing, run.shrink.on_scale))
        standing = Standing(self.alphas, self.on_scale)
        self.cohorts = make_cohorts(self.model, self.groups, run, marked, self.marked, growing, standing)
        self.aligners = make_aligners(self.model, self.groups, run, self.program)
        starts = tuple(cohort.start for cohort in self.cohorts if cohort.ramp is not None)
        self.length = run.length(starts or (Fraction(0),), self.epoch)
        if run.steps is not None and self.length is None:
            raise PlanError("how many steps is an epoch?", span=run.span, hint="Pruner(..., epoch=1000)")
        return self.length

    # -- instantaneous phases ------------------------------------------------------------------------------------------

    def _mark(self, statement: Mark) -> None:
        """Choose units; a mark replaces earlier ones on the groups it chooses."""
        self.groups = self._rediscover()
        while True:
            plan = self._choose(statement)
            chosen = [d for d in plan.decisions if len(d.removed)]
            theirs = np.concatenate([np.empty(0, np.int64), *(d.group.units for d in chosen)])
            picked = np.concatenate([self.marked[~np.isin(self.marked, theirs)], plan.removed])
            names = self.agree(in_names(self.groups, picked))
            self.marked = in_units(self.groups, names)
            self._note(plan)
            if not self.check or self._rehearsed():
                return

    def _rehearsed(self) -> bool:
        """Try the cut of what is marked; where it would not be exact, protect that place and tell to choose anew."""
        try:
            cut(plan_of(self.groups, self.marked), sizes=self.sizes)
        except RewriteError as error:
            node = error.node or ""
            guarded = guard(self.groups, node) if node else None
            if guarded is None:
                raise
            self.guards = (*self.guards, node)
            self.groups = guarded
            safe = np.concatenate([np.empty(0, np.int64), *(g.units for g in guarded if g.kind != "protected")])
            self.marked = self.marked[np.isin(self.marked, safe)]
            return False
        return True

    def _choose(self, statement: Mark | Cut) -> Plan:
        """What a statement picks, alone."""
        said = {f.name: getattr(statement, f.name) for f in fields(Selecting)}
        criteria = [c for c in (statement.criterion, *(choice.criterion for choice in statement.choices)) if c]
        calibration = None
        if any(CRITERIA[criterion.name].needs_data for criterion in criteria):
            calibration = self.calibration() if callable(self.calibration) else self.calibration
        return make_plan(self.program.alone(Cut(**said)), self.groups, calibration)

    def _note(self, plan: Plan) -> None:
        """Remember by what groups were chosen, and why others were not."""
        for decision in plan.decisions:
            if decision.why and not decision.group.reason:
                key = key_of(plan.groups, decision.group)
                if len(decision.removed):
                    self.why[key] = decision.why
                elif decision.why != NOT_SELECTED:
                    self.why.setdefault(key, decision.why)

    def _plan(self, statement: Cut) -> Plan:
        """What a cut removes."""
        if not statement.bakes:
            plan = self._choose(statement)
            self._note(plan)
            agreed = in_units(self.groups, self.agree(in_names(self.groups, plan.removed)))
            return plan if np.array_equal(agreed, np.unique(plan.removed)) else plan_of(self.groups, agreed, self.why)
        if not len(self.marked):
            raise PlanError("nothing is marked before this cut", span=statement.span, hint="mark filters 50% by l1")
        return plan_of(self.groups, self.marked, self.why)

    def _weight_norm(self, item: WeightNorm) -> None:
        """Give the layers of open groups scales."""
        plan = make_plan(self.program.alone(Cut(selection=item.selection, amount=_ONE, span=item.span)), self.groups)
        open_ = [d.group for d in plan.decisions if len(d.removed)]
        makers = [(m.tensor, m.dim) for group in open_ for m in group.members if m.role == "out"]
        done = add_weight_norm(self.model, [(name, dim) for name, dim in dict.fromkeys(makers)])
        self.normed = (*self.normed, *done)
        self.generation += bool(done)
        self.groups = self._rediscover()

    # -- discovery -----------------------------------------------------------------------------------------------------

    def _discover(self) -> Groups:
        """The groups of the model as it is now."""
        groups = find_groups(self.model, self.example, self.program.spec)
        for node in self.guards:
            groups = guard(groups, node) or groups
        return groups

    def _rediscover(self) -> Groups:
        """The same with the values of now: what a trace has folded is of the time it was made."""
        names = in_names(self.groups, self.marked)
        groups = self._discover()
        self.marked = in_units(groups, names)
        return groups
