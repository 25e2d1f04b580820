"""What fxprune uses of torch's private parts, in one file, so that the next torch breaks one file."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

__all__ = [
    "DATA_DEPENDENT",
    "EveryCall",
    "FakeTensor",
    "FakeTensorMode",
    "Memo",
    "Mode",
    "bind",
    "bodiless",
    "every_call",
    "fake_facts",
    "fake_like",
    "fake_memory",
    "fake_mode",
    "fake_view",
    "free_number",
    "garbage_waits",
    "is_whole",
    "macs",
    "mode_of",
    "no_functions",
    "quietly",
    "real_arithmetic",
    "shell",
    "without_arithmetic",
]

# what a fake run raises when the network asks for a value that only the data can tell
DATA_DEPENDENT = (DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode)

no_functions = torch._C._disabled_torch_function_impl  # a subclass whose `__torch_function__` this is has none

real_arithmetic = no_dispatch  # inside: tensors are real again, whatever modes are on


def fake_mode() -> FakeTensorMode:
    """A mode in which tensors have shapes, types and devices, but no memory and no arithmetic."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def fake_like(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    """A fake tensor of the same shape, strides, type and device.

    The first of a device is made by torch, which takes its time; the others are cast from it.
    """
    bones = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return _cast(bones, tensor.device, mode)


def _cast(bones: torch.Tensor, device: torch.device, mode: FakeTensorMode) -> torch.Tensor:
    molds: dict[torch.device, FakeTensor] = vars(mode).setdefault("_fxprune_molds", {})
    if device not in molds:
        molds[device] = FakeTensor(mode, torch.empty(0, device="meta"), device)
    made: torch.Tensor = torch.Tensor._make_subclass(
        FakeTensor, bones, False, dispatch_device=True, device_for_backend_keys=molds[device].fake_device
    )
    vars(made).update(vars(molds[device]))
    return made


def fake_facts(tensor: torch.Tensor) -> Any:
    """Shape, strides, offset, type and device of a fake tensor; None if it is not one, or has more to it than these."""
    if type(tensor) is not FakeTensor or tensor.constant is not None or tensor.requires_grad:
        return None
    if tensor.layout is not torch.strided or tensor.is_conj() or tensor.is_neg():
        return None
    return tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype, tensor.device


def fake_memory(size: int, dtype: torch.dtype, device: torch.device, mode: FakeTensorMode) -> torch.Tensor:
    """A fake tensor of one dimension, of which others can be views."""
    return _cast(torch.empty(size, dtype=dtype, device="meta"), device, mode)


def fake_view(
    base: torch.Tensor, shape: Sequence[int], stride: Sequence[int], offset: int, mode: FakeTensorMode
) -> torch.Tensor:
    """A view of the memory of a fake tensor."""
    return _cast(torch.as_strided(base, shape, stride, offset), base.device, mode)


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that is never compiled, and so spared torch's wrapper around every call that keeps it out."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class Memo:
    """Calls without arithmetic, each kind made by torch once and repeated from memory: networks repeat their blocks.

    Law: only calls of whose results nothing but shape, strides, type, device and the memory they share is known.
    """

    def __init__(self, mode: FakeTensorMode) -> None:
        self.mode = mode
        self.known: dict[Any, tuple[torch.Tensor | None, int]] = {}
        self.types: dict[Any, torch.dtype] = {}  # elementwise calls, whatever the shapes → type of the result

    def __call__(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:
        """`func(*args, **kwargs)` under the fake mode, and its multiply-accumulates."""
        if func is torch.ops.prim.device.default and type(args[0]) is FakeTensor:
            return args[0].fake_device, 0  # asked for by half of all calls
        key = self.key(func, args, kwargs)
        found = None if key is None else self.known.get(key)
        if found is not None:
            made, count = found
            if made is None:
                return args[0], count
            with real_arithmetic():
                return self.again(made, args[0]) if _kind(func) == "view" else fake_like(made, self.mode), count
        out = None if key is None else self.bare(func, args, kwargs)
        if out is None:
            out = func(*args, **kwargs)
        count = macs(func, args, kwargs, out)
        if key is not None and type(out) is FakeTensor and out.constant is None and _plain(func, out, args):
            self.known[key] = (None if _kind(func) == "in place" else out), count
        return out, count

    def bare(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Views, elementwise results and products as torch gives them without data; None where it may give others.

        Fake tensors ask much else first, which takes far longer.
        """
        if not _is_bare(func):
            return None
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        if not tensors or any(fake_facts(t) is None for t in tensors):
            return None
        device = tensors[0].device
        if any(t.device != device for t in tensors[1:]):
            return None
        if func is torch.ops.aten.convolution.default and not all(t.is_contiguous() for t in tensors):
            return None  # the result lies as the backend likes it
        alike = _elementwise(func, args, kwargs) if all(t.is_contiguous() for t in tensors) else None
        try:
            shape = None if alike is None else _broadcast(tensors)
            if shape is not None and alike in self.types:
                with real_arithmetic():
                    return _cast(torch.empty(shape, dtype=self.types[alike], device="meta"), device, self.mode)
            with in_kernel_invocation_manager(self.mode):
                out = func(*args, **kwargs)
                parts = (out,) if isinstance(out, torch.Tensor) else out
                if any(part.is_conj() or part.is_neg() or part.dtype.is_complex for part in parts):
                    return None
                if alike is not None and out.is_contiguous() and out.shape == shape:
                    self.types[alike] = out.dtype
                made = [_cast(part, device, self.mode) for part in parts]
                return made[0] if isinstance(out, torch.Tensor) else made
        except (RuntimeError, NotImplementedError):
            return None  # for the fake tensors to tell why

    def again(self, view: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """A view of a tensor as another was of one just like it: `_facts` holds where in its memory that begins."""
        return fake_view(base, view.shape, view.stride(), int(view.storage_offset()), self.mode)

    def key(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What the result depends on; None where that is not all in the arguments' kinds."""
        if _kind(func) == "other":
            return None
        try:
            key = (func, tuple(map(_facts, args)), tuple((name, _facts(value)) for name, value in kwargs.items()))
            hash(key)
        except TypeError:
            return None
        return key


def _plain(func: Any, out: torch.Tensor, args: Any) -> bool:
    """Is a view one that reads its memory as the base does: not the real part of it, nor its conjugate?"""
    return _kind(func) != "view" or (out.dtype == args[0].dtype and out.is_conj() == args[0].is_conj())


_DENSE = frozenset(["_unsafe_view", "addmm", "bmm", "convolution", "linalg_vector_norm", "mean", "mm", "var"])


@cache
def _is_bare(func: Any) -> bool:
    """Is its result without data made from shapes, strides and types alone, by nothing but the op's own kernel?"""
    if _kind(func) in ("view", "views"):
        return True
    return _kind(func) == "pure" and (torch.Tag.pointwise in func.tags or func.overloadpacket.__name__ in _DENSE)


def _broadcast(tensors: Sequence[torch.Tensor]) -> Sequence[int]:
    shapes = [tensor.shape for tensor in tensors]
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-any-return, no-untyped-call]


def _elementwise(func: Any, args: Any, kwargs: Any) -> Any:
    """What the type of an elementwise result depends on, for inputs that lie in order; None for other calls.

    Law: such a result has the shape to which the inputs are broadcast and lies in order too, whatever the shapes.
    """
    if torch.Tag.pointwise not in func.tags or _kind(func) != "pure":
        return None
    found = [func]
    for value in (*args, *kwargs.values()):
        if isinstance(value, (list, tuple)):
            return None
        found.append((value.dtype, value.dim() == 0) if isinstance(value, torch.Tensor) else (type(value), value))
    return *found, *kwargs


@cache
def _kind(func: Any) -> str:
    """`pure` calls make a new tensor, a `view` shares the first argument's memory, and so do all `views` of a list;
    `in place` gives that argument back.
    """
    schema = func._schema
    if schema.is_mutable:
        own = torch.Tag.pointwise in func.tags and func.overloadpacket.__name__.endswith("_")
        return "in place" if own else "other"
    if all(out.alias_info is None for out in schema.returns):
        return "pure"
    first = schema.arguments[0].alias_info
    if len(schema.returns) != 1 or first is None:
        return "other"
    return "view" if isinstance(schema.returns[0].type, torch.TensorType) else "views"


def bind(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Arguments of an ATen call by their names in the schema, defaults filled in."""
    names, defaults = _arguments(func)
    return {**defaults, **dict(zip(names, args, strict=False)), **kwargs}


@cache
def _arguments(func: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    arguments = func._schema.arguments
    return tuple(a.name for a in arguments), {a.name: a.default_value for a in arguments}


def _facts(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        kind = type(value)
        return value.shape, value.stride(), value.storage_offset(), value.dtype, value.device, kind is FakeTensor
    if isinstance(value, (list, tuple)):
        return tuple(map(_facts, value))
    return type(value), value


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Inside, torch neither logs, warns nor prints: what it says about tracing is not for the user."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), garbage_waits():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def garbage_waits() -> Iterator[None]:
    """Inside, cycles are not looked for: graphs are nothing but cycles that live, and looking takes a quarter more."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def macs(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Multiply-accumulates of one ATen call by torch's own counter: half its FLOPs; 0 for what it does not count."""
    if func.overloadpacket is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:  # not in torch's own table
        return int(sdpa_flop_count(*(tensor.shape for tensor in args[:3]))) // 2  # type: ignore[no-untyped-call]
    formula = flop_registry.get(func.overloadpacket)
    return int(formula(*args, **kwargs, out_val=out)) // 2 if formula is not None else 0


def shell(layer: nn.Module, tensor: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """The layer with every parameter and buffer replaced, sharing all else; the layer itself is left alone."""
    made = layer.__class__.__new__(layer.__class__)
    made.__dict__ = dict(layer.__dict__)
    for kind in ("_parameters", "_buffers"):
        made.__dict__[kind] = {k: v if v is None else tensor(v) for k, v in layer.__dict__[kind].items()}
    made.__dict__["_modules"] = {k: v if v is None else shell(v, tensor) for k, v in layer._modules.items()}
    return made


class EveryCall(ProxyTorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that is shown every ATen call as it is made, before torch takes composite ones apart; see `every_call`."""

    def __init__(self) -> None:
        super().__init__(None, "symbolic", pre_dispatch=True)  # type: ignore[arg-type]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


@contextlib.contextmanager
def every_call(mode: EveryCall) -> Iterator[None]:
    """Inside, the mode answers every ATen call, those that torch makes in C++ too."""
    with enable_python_dispatcher(), mode:
        yield


class _Remembered(Mode):  # type: ignore[no-untyped-call]
    def __init__(self, call: Memo) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.call = call

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.call(func, args, kwargs or {})[0]


@contextlib.contextmanager
def without_arithmetic(call: Memo) -> Iterator[None]:
    """Inside, calls are made on fake tensors, each kind once; composite ones are taken apart."""
    with torch._C._DisablePythonDispatcher(), call.mode, _Remembered(call), torch.no_grad():
        yield


def bodiless(kind: type[torch.Tensor], shape: Any, stride: Any, like: torch.Tensor, grad: bool) -> Any:
    """A tensor of a subclass with a shape of numbers and symbolic integers, and no memory."""
    return torch.Tensor._make_wrapper_subclass(
        kind, shape, strides=stride, dtype=like.dtype, device=like.device, requires_grad=grad
    )


def is_whole(tensor: torch.Tensor) -> bool:
    """Is it a tensor of torch's own kinds, with memory?"""
    return type(tensor) in (torch.Tensor, nn.Parameter, nn.Buffer) and torch._C._has_storage(tensor)


def mode_of(tensor: Any) -> Any:
    """The mode that a fake tensor is of."""
    return tensor.fake_mode


def free_number(mode: FakeTensorMode, count: int, hint: Any, least: Any) -> tuple[Any, Any, Any]:
    """A number of its own for a shape, the `count`th; itself, its symbol and the range of that.

    Args:
        hint: one value of it; an integer makes it one.
        least: how low it may be; what is 0 or less is as good as any.
    """
    env: Any = mode.shape_env
    if isinstance(hint, float):
        symbol, span = sympy.Symbol(f"zf{count}", real=True), ValueRanges(-sympy.oo, sympy.oo)
        env.add_backed_var_to_val(symbol, hint)
        return env.create_symfloatnode(symbol, hint=hint), symbol, span
    symbol = sympy.Symbol(f"s{count}", integer=True, **({"positive": True} if least > 0 else {}))
    env.add_backed_var_to_val(symbol, hint)
    span = ValueRanges(0 if least >= 0 else -int_oo, int_oo)
    env.constrain_symbol_range(symbol, compiler_min=span.lower, compiler_max=span.upper)
    return env.create_symintnode(symbol, hint=hint), symbol, span
