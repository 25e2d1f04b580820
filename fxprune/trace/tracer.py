"""The tracer behind every symbolic rung: which layers are leaves, which arguments become inputs."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
from torch import fx, nn

from fxprune.trace.blame import user_frame

__all__ = ["Tracer"]

# torch.nn modules that are more than one layer: looked into
_OPENED = (
    nn.MultiheadAttention,
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)


_CALL: Any = nn.Module.__call__  # as it is while nobody traces


class Tracer(fx.Tracer):
    """Stops at the layers of torch.nn and opens everything else, subclasses of layers included.

    Arguments of `forward` that the example leaves out keep their defaults, as constants.
    """

    def __init__(self, given: int) -> None:
        super().__init__(param_shapes_constant=True)
        self.given = given

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """A layer of torch.nn itself, not of a subclass written elsewhere."""
        return super().is_leaf_module(m, module_qualified_name) and not isinstance(m, _OPENED)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What is made inside `forward` has no path and is looked into: `nn.Softmax(-1)(x)`, `self.body[4:](x)`."""
        made = m not in (self.submodule_paths or {})
        if made and (next(m.parameters(), None) is None or not self.is_leaf_module(m, "")):
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """The root function, inside which a submodule may also be called with an argument named `mod`."""
        function, args = super().create_args_for_root(root_fn, is_module, concrete_args)

        @wraps(function)
        def run(*given: Any) -> Any:
            with self._any_name():
                return function(*given)

        return run, args

    @contextmanager
    def _any_name(self) -> Iterator[None]:
        """fx's own stand-in for calling a module has a parameter `mod`: inside, it is passed over where it collides."""
        stand_in: Any = nn.Module.__call__

        def call(part: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
            if "mod" not in kwargs:
                return stand_in(part, *args, **kwargs)
            return self.call_module(part, lambda *a, **k: _CALL(part, *a, **k), args, kwargs)

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = stand_in  # type: ignore[method-assign]

    def create_arg(self, a: Any) -> Any:
        """Numbers of numpy become Python's own."""
        if isinstance(a, np.generic):
            a = a.item()
        return super().create_arg(a.tolist() if isinstance(a, np.ndarray) else a)

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> fx.Node:
        """A node that remembers the line of the model it came from, as (file, line).

        `x[k] = y` is one op, whether `x` is traced or not.
        """
        if "__setitem__" in (target, getattr(target, "__name__", None)):
            kind, target = "call_function", operator.setitem
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        frame = user_frame()
        if frame is not None:
            node.meta["source"] = (frame.f_code.co_filename, frame.f_lineno)
        return node

    def _proxy_placeholder(self, name: str, concrete_args: Any, sig: inspect.Signature, fn_for_analysis: Any) -> Any:
        if not name.startswith("*"):
            parameter = sig.parameters[name]
            place = [p for p in sig.parameters if p != "self"].index(name)
            if place >= self.given and parameter.default is not inspect.Parameter.empty:
                return parameter.default
        return super()._proxy_placeholder(name, concrete_args, sig, fn_for_analysis)
