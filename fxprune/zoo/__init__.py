"""A network's name and arguments -> a reference super-resolution network; names are listed without importing torch."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fxprune.errors import Diagnostic, ModelError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "Network", "build", "describe"]

LARGEST = 1_000_000  # beyond it an argument is a slip of the pen


@dataclass(frozen=True, slots=True)
class Network:
    """One name of the zoo: a class, and the arguments this name stands for (the caller's own come after and win)."""

    module: str  # below fxprune.zoo
    class_name: str
    preset: Mapping[str, object] = field(default_factory=dict)

    def load(self) -> type[nn.Module]:
        """The class; imports torch."""
        loaded: type[nn.Module] = getattr(importlib.import_module(f"fxprune.zoo.{self.module}"), self.class_name)
        return loaded

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The constructor's arguments by name, their defaults with the preset put in; imports torch."""
        signature = inspect.signature(self.load(), eval_str=True)
        return {
            name: parameter.replace(default=self.preset.get(name, parameter.default))
            for name, parameter in signature.parameters.items()
        }


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "carn": Network("carn", "CARN"),
        "carn_m": Network("carn", "CARN", {"conv_groups": 4, "efficient": True, "recursive": True}),
        "drcn": Network("drcn", "DRCN"),
        "drrn": Network("drrn", "DRRN"),
        "edsr": Network("edsr", "EDSR"),
        "edsr_large": Network("edsr", "EDSR", {"blocks": 32, "width": 256, "res_scale": 0.1}),
        "esrb": Network("esrb", "ESRB"),
        "fsrcnn": Network("fsrcnn", "FSRCNN"),
        "fsrcnn_small": Network("fsrcnn", "FSRCNN", {"width": 32, "shrink": 5, "blocks": 1}),
        "hat": Network("hat", "HAT"),
        "hat_small": Network("hat", "HAT", {"width": 144, "compress": 24, "reduction": 24}),
        "imdn": Network("imdn", "IMDN"),
        "lapsrn": Network("lapsrn", "LapSRN"),
        "latticenet": Network("latticenet", "LatticeNet"),
        "memnet": Network("memnet", "MemNet"),
        "nafnet": Network("nafnet", "NAFNet"),
        "nafssr": Network("nafssr", "NAFSSR"),
        "pan": Network("pan", "PAN"),
        "rcan": Network("rcan", "RCAN"),
        "rdn": Network("rdn", "RDN"),
        "restormer": Network("restormer", "Restormer"),
        "rfdn": Network("rfdn", "RFDN"),
        "rrdb": Network("rrdb", "RRDB"),
        "srcnn": Network("srcnn", "SRCNN"),
        "srdensenet": Network("srdensenet", "SRDenseNet"),
        "swinir": Network("swinir", "SwinIR"),
        "swinir_light": Network("swinir", "SwinIR", {"groups": 4, "width": 60, "final_conv": False}),
        "vdsr": Network("vdsr", "VDSR"),
    }
)


def build(name: str, **arguments: object) -> nn.Module:
    """The network of that name, with fresh weights from torch's global generator, on torch's default device.

    Raises:
        ModelError: an unknown name, an unknown argument, or a value that does not fit, all arguments in one go; a
            network too large for the machine's memory.
    """
    network = NETWORKS.get(name)
    if network is None:
        raise ModelError(f"there is no network {name!r} in the zoo", hint=_nearest(name, NETWORKS))
    accepted = network.parameters()
    found: list[Diagnostic] = []
    values = dict(network.preset)
    for key, value in arguments.items():
        parameter = accepted.get(key)
        if parameter is None:
            hint = f"{_nearest(key, accepted)}; it takes {_signature(accepted)}"
            found.append(Diagnostic(f"{name} has no argument {key!r}", hint=hint))
            continue
        wanted = _misfit(value, parameter.annotation)
        if wanted is not None:
            hint = f"the default is {key}={_literal(parameter.default)}"
            found.append(Diagnostic(f"{name}: {key} is {wanted}, not {_literal(value)}", hint=hint))
        else:
            values[key] = _converted(value, parameter.annotation)
    if found:
        raise ModelError(found)
    try:
        return network.load()(**values)
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        message = f"{name} of this size does not fit into memory: {', '.join(f'{k}={v}' for k, v in values.items())}"
        raise ModelError(message) from None


def describe() -> str:
    """The zoo as a Markdown table, sorted by name: name, paper, arguments with their defaults; imports torch."""
    rows = ["| name | paper | arguments |", "| --- | --- | --- |"]
    for name, network in sorted(NETWORKS.items()):
        module = importlib.import_module(f"fxprune.zoo.{network.module}")
        paper = (module.__doc__ or "").splitlines()[0].rstrip(".")
        rows.append(f"| `{name}` | {paper} | `{_signature(network.parameters())}` |")
    return "\n".join(rows) + "\n"


def _misfit(value: Any, annotation: object) -> str | None:
    """What an argument of this annotation should be, in words, if `value` is not; None if it is."""
    if annotation is bool:
        return None if isinstance(value, bool) else "yes or no"
    if annotation is float:
        return None if _is_number(value) and -LARGEST <= value <= LARGEST else "a number"
    if annotation is int:
        fits = _is_number(value) and value % 1 == 0 and not isinstance(value, float) and 1 <= value <= LARGEST
        return None if fits else f"a whole number from 1 to {LARGEST:,}"
    fits = isinstance(value, (tuple, list)) and all(_misfit(item, int) is None for item in value)
    return None if fits else f"a list of whole numbers from 1 to {LARGEST:,}"


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)


def _converted(value: Any, annotation: object) -> object:
    """A value that fits, as the plain Python type the constructor expects: a fraction 3/1 becomes 3, a list a tuple."""
    if annotation is float or annotation is int:
        return annotation(value)
    return tuple(int(item) for item in value) if isinstance(value, (tuple, list)) else value


def _nearest(word: str, known: Mapping[str, object]) -> str:
    """A did-you-mean for a word that is not among the known ones, or the known ones when none is near."""
    near = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return "there are " + ", ".join(sorted(known))


def _signature(parameters: Mapping[str, inspect.Parameter]) -> str:
    return ", ".join(f"{name}={_literal(parameter.default)}" for name, parameter in parameters.items())


def _literal(value: object) -> str:
    """A value as a spec writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(_literal(item) for item in value) + ")"
    return repr(value) if isinstance(value, str) else str(value)
