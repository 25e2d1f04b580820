"""Every word of the language -> what it does and what may follow it. The reader, the checker and the docs go by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

__all__ = [
    "AGGREGATES",
    "ATTENTIONS",
    "CLAUSES",
    "CRITERIA",
    "FORMATS",
    "GRANULARITIES",
    "INSTANT",
    "METRICS",
    "NORMS",
    "PATTERNS",
    "ROLES",
    "ROUNDINGS",
    "STATEMENTS",
    "Measure",
    "Word",
    "nearest",
]

Slot = str  # a clause word, or one of the positional slots in POSITIONAL


@dataclass(frozen=True, slots=True)
class Word:
    """A word a statement begins with."""

    does: str  # one line for the language reference
    example: str  # a line that parses
    takes: frozenset[Slot]
    block: Literal["choices", "options", "statements"] | None = None
    steps: bool = False  # it takes training steps, and so needs data
    single: bool = False  # at most once in a file
    nests: bool = True  # may stand in a `repeat`


@dataclass(frozen=True, slots=True)
class Measure:
    """What may follow `by`."""

    does: str
    args: tuple[str, ...] = ()  # names, in the order an argument without a name takes them
    of: tuple[str, ...] = ("filters", "kernels", "weights")  # the granularities it can rank
    needs_data: bool = False  # it needs gradients or activations


POSITIONAL = {
    "granularity": "`filters`, `kernels` or `weights`",
    "role": "`free`, `constrained`, `first` or `last`",
    "amount": "an amount",
    "selection": "layers",
    "names": "names",
    "subject": "a name, perhaps with arguments",
    "sizes": "sizes",
    "steps": "a number of steps",
    "number": "a number",
    "factor": "a factor",
    "text": "a quoted text",
    "pairs": "names with their values",
}

CLAUSES = {
    "aggregate": ("how the members of a constrained group are combined into one score", "aggregate max"),
    "as": ("the name to save under", "as start"),
    "at": (
        "the output size that MACs are counted for, width first; the steps of a schedule",
        "at 1280x720",
    ),
    "by": ("the measure that ranks: the least goes first", "by l1"),
    "every": ("how often", "every 200k"),
    "except": ("layers left out of the selection before it", "except body.0"),
    "for": ("how long", "for 17260 steps"),
    "from": ("the file with the weights", 'from "edsr.safetensors"'),
    "group": ("the groups of this name, in a selection", "in group stage1"),
    "globally": ("all groups are ranked in one list; otherwise each by itself", "globally"),
    "in": ("only these layers", "in body.**"),
    "keep": ("the share or the number that stays", "keep 32"),
    "kind": ("the layers of this class, in a selection", "in kind Conv2d"),
    "multiple": ("what stays is rounded up to such a multiple", "multiple of 8"),
    "on": ("which parameters it works on", "on scale"),
    "per layer": ("each group or layer is ranked by itself; the default", "per layer"),
    "rounded": ("how the number of units removed is rounded: up (the default), down, nearest", "rounded down"),
    "to": ("the saved state to go back to", "to start"),
    "until": ("the budget to meet, or where to stop", "until macs <= 40.6G at 1280x720"),
    "while": ("a phase that runs at the same time", "while shrink l2"),
}

_WHICH = frozenset({"granularity", "role", "in", "except"})
_HOW_MUCH = frozenset({"amount", "keep", "until", "at", "rounded"})
_RANKED = frozenset({"by", "aggregate", "globally", "per layer", "multiple"})
_CHOOSING = _WHICH | _HOW_MUCH | _RANKED
_TRAINING = frozenset({"steps", "for", "until"})

CHOICE = frozenset({"selection", "role", "in", "except"}) | _HOW_MUCH | _RANKED  # a line of a block of choices
OPTION = frozenset({"every", "at", "until", "by", "on", "for", "from", "to", "keep"})  # clauses in a block of options
FLAGS = frozenset({"cosine", "flips", "rotations"})  # options that may stand alone


def _word(does: str, example: str, *takes: str | Iterable[str], **more: object) -> Word:
    slots = frozenset(slot for take in takes for slot in ([take] if isinstance(take, str) else take))
    return Word(does, example, slots, **more)  # type: ignore[arg-type]


STATEMENTS: dict[str, Word] = {
    "align": _word(
        "regularise the members of constrained groups until they agree on what is unimportant",
        "align constrained 81.25% for 17260 steps",
        *(_WHICH, "amount", "keep", "by", "steps", "for", "while"),
        block="options",
        steps=True,
    ),
    "attention": _word(
        "which way channels that are split into heads may shrink; without it, whichever leaves more units",
        "attention heads",
        "names",
        single=True,
        nests=False,
    ),
    "cut": _word(
        "choose units and remove them; alone, remove what is marked",
        "cut filters 50% by l1",
        _CHOOSING,
        block="choices",
    ),
    "data": _word(
        "the pictures to train and validate on",
        'data train "DIV2K", "Flickr2K" validate "Set5"',
        "pairs",
        block="options",
        single=True,
        nests=False,
    ),
    "emit": _word("the files to write", "emit safetensors, python", "names", single=True, nests=False),
    "finetune": _word(
        "train what is left",
        "finetune 300k steps { lr 1e-4, halve every 200k }",
        _TRAINING,
        block="options",
        steps=True,
    ),
    "hold": _word(
        "train on with the penalty where it stands", "hold 43150 steps", _TRAINING, block="options", steps=True
    ),
    "hypernet": _word(
        "let a hypernetwork make the weights, so that channels and weights shrink together",
        "hypernet { latent 8, proximal 0.1, indicators l1 }",
        _WHICH,
        block="options",
    ),
    "input": _word(
        "the shape of an example input, one per argument of the model",
        "input 1x3x48x48",
        "sizes",
        single=True,
        nests=False,
    ),
    "let": _word("a variable, which `--set` on the command line overrides", "let r = 50%", nests=False),
    "loss": _word("the training loss", "loss l1", "subject", single=True, nests=False),
    "mark": _word(
        "choose units, to be removed by a later cut",
        "mark filters 50% by l1",
        _CHOOSING,
        block="choices",
    ),
    "mask": _word(
        "hold kernels or weights at zero along a pattern",
        "mask kernels by graph(nodes=64, degree=8, rewire=0, seed=1)",
        *(_WHICH, "amount", "keep", "by", "globally", "per layer"),
    ),
    "model": _word(
        "the network: one of the zoo, or a quoted reference to code",
        'model edsr(blocks=16, scale=2) from "edsr.safetensors"',
        *("subject", "from"),
        single=True,
        nests=False,
    ),
    "multiple": _word("for every mark and cut that does not say its own", "multiple of 8", single=True, nests=False),
    "norm": _word(
        "`exact` keeps a norm's statistics, `native` uses the stock kernel on what is left",
        "norm native",
        "names",
        single=True,
        nests=False,
    ),
    "optimizer": _word("what trains", "optimizer adam(lr=1e-4)", "subject", single=True, nests=False),
    "protect": _word(
        "layers whose filters all stay; their inputs may still shrink",
        "protect tail.*, sub_mean",
        *("selection", "role", "except"),
        nests=False,
    ),
    "repeat": _word(
        "a block again and again, or once per value",
        "repeat 8 { cut weights 20% by magnitude }",
        *("number", "for", "in"),
        block="statements",
    ),
    "rewind": _word("put the weights that are left back to a saved state", "rewind to start", "to"),
    "save": _word("remember the weights under a name", "save as start", "as"),
    "shrink": _word(
        "drive what is marked towards zero",
        "shrink l2 on scale { step 1e-4 every 20, until 0.5 }",
        *(_WHICH, "amount", "keep", "by", "globally", "per layer", "subject", "on", "steps", "for"),
        block="options",
        steps=True,
    ),
    "train": _word("train", "train 1000k steps", _TRAINING, block="options", steps=True),
    "use": _word("take over the statements of another file", 'use "common.prune"', "text", nests=False),
    "weight_norm": _word("give every layer a weight norm, whose scales can then be ranked", "weight_norm", _WHICH),
    "widen": _word("multiply the width of the network", "widen 2x", "factor", _WHICH),
}

INSTANT = frozenset(name for name, word in STATEMENTS.items() if not word.steps)  # these need no training data

CRITERIA: dict[str, Measure] = {
    "activation": Measure("mean absolute activation", of=("filters",), needs_data=True),
    "fpgm": Measure("distance to the geometric median of the layer's filters", args=("p",), of=("filters",)),
    "hessian": Measure("second-order estimate of the loss change", of=("filters",), needs_data=True),
    "l1": Measure("sum of absolute weights", of=("filters", "kernels")),
    "l2": Measure("root of the sum of squared weights", of=("filters", "kernels")),
    "lamp": Measure("magnitude relative to what the layer still has", args=("p",), of=("filters", "weights")),
    "magnitude": Measure("absolute value", of=("weights",)),
    "obdc": Measure("second-order estimate with Kronecker factors", of=("filters",), needs_data=True),
    "random": Measure("at random, reproducibly", args=("seed",)),
    "scale": Measure("absolute scale of the norm: of batch norm, or of weight norm", of=("filters",)),
    "taylor": Measure(
        "first-order estimate of the loss change", args=("multivariable",), of=("filters",), needs_data=True
    ),
}

PATTERNS: dict[str, Measure] = {
    "graph": Measure(
        "a relational graph between input and output channels",
        args=("nodes", "degree", "rewire", "seed"),
        of=("kernels",),
    ),
    "grouped": Measure("block-diagonal, as a grouped convolution", args=("groups",), of=("kernels",)),
    "random": Measure("each by itself at random, reproducibly", args=("keep", "seed"), of=("kernels", "weights")),
}

AGGREGATES = {
    "first": "the first member alone decides",
    "max": "the largest score of the members",
    "mean": "the mean over the members; the default",
    "min": "the smallest score of the members",
    "product": "the product over the members",
    "sum": "the sum over the members",
}

FORMATS = {
    "export": "model.pt2, a torch.export program for any height and width",
    "plan": "plan.json, what was removed and why",
    "python": "model.py, readable source of the network",
    "report": "the report",
    "safetensors": "model.safetensors, the weights",
}

GRANULARITIES = {
    "filters": "whole output channels, with all that hangs on them; the default",
    "kernels": "single two-dimensional kernels, one per pair of output and input channel",
    "weights": "single weights",
}

METRICS = {
    "macs": "multiplications of all layers for one output image, bias not counted",
    "params": "parameters",
}

ATTENTIONS = {
    "head_dim": "the same channels of every head go; the number of heads stays",
    "heads": "whole heads go; their width stays",
}

NORMS = {
    "exact": "norms over channels keep the statistics of the original; the default",
    "native": "norms over channels run the stock kernel on what is left; the output changes slightly",
}

ROLES = {
    "constrained": "groups with several producers tied together",
    "first": "the first layer with weights",
    "free": "groups with one producer",
    "last": "the last layer with weights",
}

ROUNDINGS = {
    "down": "fewer units are removed",
    "nearest": "half a unit counts as one",
    "up": "more units are removed; the default",
}

ALIASES = {  # what people write who know another tool
    "abs": "magnitude",
    "bn": "scale",
    "channel": "filters",
    "channels": "filters",
    "dataset": "data",
    "example": "input",
    "export": "emit",
    "filter": "filters",
    "flops": "macs",
    "fine_tune": "finetune",
    "for": "repeat",
    "freeze": "protect",
    "global": "globally",
    "gamma": "scale",
    "ignore": "protect",
    "import": "use",
    "include": "use",
    "kernel": "kernels",
    "layerwise": "per layer",
    "load": "model",
    "local": "per layer",
    "locally": "per layer",
    "loop": "repeat",
    "mac": "macs",
    "multadds": "macs",
    "net": "model",
    "network": "model",
    "output": "emit",
    "parameters": "params",
    "prune": "cut",
    "pt2": "export",
    "remove": "cut",
    "retrain": "finetune",
    "safetensor": "safetensors",
    "set": "let",
    "shape": "input",
    "skip": "protect",
    "var": "let",
    "weight": "weights",
    "width": "widen",
    "with": "by",
}


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that was probably meant, or None; `cutoff` is how alike two words must be, in [0, 1]."""
    known = sorted(known)
    lower = word.lower()
    if lower in known:
        return lower
    if ALIASES.get(lower) in known:
        return ALIASES[lower]
    if len(lower) < 2:  # one letter is near to everything
        return None
    close = get_close_matches(lower, known, n=1, cutoff=cutoff if len(lower) > 2 else max(cutoff, 0.75))
    return close[0] if close else None
