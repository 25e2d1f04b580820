"""An fx graph in, a straight list of statements out, ready to be written as Python."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import FunctionType
from typing import Any

from torch import fx

from fxprune.emit.literals import INFIX, PREFIX, function_name, literal
from fxprune.emit.program import ATOM, LOOSE, UNARY, Expr, Program, Ref, Stmt, Use
from fxprune.errors import RewriteError

__all__ = ["read_graph"]


class Reader:
    """Turns the nodes of one graph into statements."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.numbers: dict[fx.Node, int] = {}
        self.helpers: dict[str, FunctionType] = {}

    def value(self, value: Any, where: fx.Node, level: int = LOOSE) -> Iterator[str | Use | Ref]:
        """Writes an argument: nodes, constants, and tuples, lists, dictionaries and slices of them."""
        if isinstance(value, fx.Node):
            yield self.node(value, level)
        elif isinstance(value, list | tuple):
            text = "(" if isinstance(value, tuple) else "["
            yield text
            yield from self.joined(self.value(part, where) for part in value)
            yield (",)" if len(value) == 1 else ")") if isinstance(value, tuple) else "]"
        elif isinstance(value, dict):
            yield "{"
            pairs = ([*self.value(k, where), ": ", *self.value(v, where)] for k, v in value.items())
            yield from self.joined(pairs)
            yield "}"
        elif isinstance(value, slice):
            yield "slice("
            yield from self.joined(self.value(part, where) for part in (value.start, value.stop, value.step))
            yield ")"
        else:
            yield self.constant(value, where, level)

    def node(self, node: fx.Node, level: int) -> str | Use | Ref:
        """Writes the value of another node; parameters, buffers and constants stand where they are used."""
        if node.op != "get_attr":
            return Use(self.numbers[node], level)
        path = str(node.target)
        found: Any = self.module
        for part in path.split("."):
            found = getattr(found, part)
        if hasattr(found, "dtype") and hasattr(found, "shape"):
            return Ref(tuple(path.split(".")))
        return self.constant(found, node, level)

    def constant(self, value: Any, where: fx.Node, level: int) -> str:
        text = literal(value)
        if text is None:
            raise RewriteError(
                f"{where.name}: a value of type {type(value).__name__} cannot be written as source",
                hint="constants in a graph are numbers, strings, dtypes, devices, and lists or slices of them",
            )
        negative = text.startswith("-") and level > UNARY
        bare_int = level == ATOM and text.isdigit()
        return f"({text})" if negative or bare_int else text

    @staticmethod
    def joined(items: Iterable[Iterable[str | Use | Ref]]) -> Iterator[str | Use | Ref]:
        for number, item in enumerate(items):
            if number:
                yield ", "
            yield from item

    def call(self, node: fx.Node, args: tuple[Any, ...]) -> Iterator[str | Use | Ref]:
        """Writes `(a, b, key=c)`."""
        kept = {key: value for key, value in node.kwargs.items() if not is_default(node, key, value)}
        named = ([f"{key}=", *self.value(value, node)] for key, value in kept.items())
        yield "("
        yield from self.joined([*(self.value(arg, node) for arg in args), *named])
        yield ")"

    def index(self, index: Any, node: fx.Node) -> Iterator[str | Use | Ref]:
        """Writes what stands between brackets."""
        if isinstance(index, slice):
            parts = [index.start, index.stop] + ([] if index.step is None else [index.step])
            for number, part in enumerate(parts):
                yield ":" if number else ""
                yield from () if part is None else self.value(part, node)
        elif isinstance(index, tuple) and index:
            yield from self.joined(self.index(part, node) for part in index)
            yield "," if len(index) == 1 else ""
        else:
            yield from self.value(index, node)

    def function(self, node: fx.Node) -> Expr:
        """Writes a call of a plain function, operators as operators."""
        target: Any = node.target
        args = node.args
        if target in INFIX and len(args) == 2 and not node.kwargs:
            sign, level = INFIX[target]
            right_tied = target is operator.pow
            left, right = (level + 1, level) if right_tied else (level, level + 1)
            if level == 1:  # a < b < c is not (a < b) < c
                left = right
            first, second = self.value(args[0], node, left), self.value(args[1], node, right)
            return Expr((*first, f" {sign} ", *second), level)
        if target in PREFIX and len(args) == 1:
            return Expr((PREFIX[target], *self.value(args[0], node, UNARY)), UNARY)
        if target is operator.getitem:
            return Expr((*self.value(args[0], node, ATOM), "[", *self.index(args[1], node), "]"))
        if target is operator.setitem and not node.users:
            held = (*self.value(args[0], node, ATOM), "[", *self.index(args[1], node), "]")
            return Expr((*held, " = ", *self.value(args[2], node)), LOOSE)
        if target is getattr and len(args) == 2:
            return Expr((*self.value(args[0], node, ATOM), f".{args[1]}"))
        return Expr((self.function_text(target, node), *self.call(node, args)))

    def function_text(self, target: Any, node: fx.Node) -> str:
        name = function_name(target)
        if name is not None:
            return name
        module, name = getattr(target, "__module__", None) or "", getattr(target, "__name__", repr(target))
        if isinstance(target, FunctionType) and module.split(".")[0] == "fxprune":
            if self.helpers.setdefault(name, target) is not target:
                raise RewriteError(f"{node.name}: two different functions are called {name}")
            return name
        raise RewriteError(
            f"{node.name}: a call of {module}.{name} cannot be written without its code",
            hint="only functions of torch, torch.nn.functional, math and operator stand in a generated model",
        )

    def expression(self, node: fx.Node) -> Expr:
        if node.op == "call_module":
            return Expr((Ref(tuple(str(node.target).split("."))), *self.call(node, node.args)))
        if node.op == "call_method":
            self_arg = self.value(node.args[0], node, ATOM)
            return Expr((*self_arg, f".{node.target}", *self.call(node, node.args[1:])))
        return self.function(node)

    def result(self, node: fx.Node) -> Stmt:
        """Writes the return statement."""
        value = node.args[0]
        bare = isinstance(value, tuple) and len(value) > 1
        parts = [*self.value(value, node)]
        return Stmt(Expr(("return ", *(parts[1:-1] if bare else parts)), LOOSE), None)

    def program(self) -> Program:
        inputs, signature, nodes = [], [], []
        for number, node in enumerate(self.module.graph.nodes):
            self.numbers[node] = number
            if node.op == "placeholder":
                name = str(node.target).lstrip("*")
                default = "".join(f"={self.constant_default(arg, node)}" for arg in node.args)
                inputs.append((number, name))
                signature.append(f"{node.target}{default}")
            elif node.op == "output":
                nodes.append(self.result(node))
            elif node.op != "get_attr" and (node.users or node.target not in (getattr, operator.getitem)):
                out = number if node.users else None
                nodes.append(Stmt(self.merged(self.expression(node)), out, *hint(node)))
        helpers = tuple(self.helpers[name] for name in sorted(self.helpers))
        return Program(", ".join(signature), tuple(inputs), tuple(nodes), helpers)

    def constant_default(self, value: Any, node: fx.Node) -> str:
        parts = [*self.value(value, node)]
        if not all(isinstance(part, str) for part in parts):
            raise RewriteError(f"{node.name}: the default of an input must be a constant")
        return "".join(str(part) for part in parts)

    @staticmethod
    def merged(expr: Expr) -> Expr:
        """Joins neighbouring pieces of text, so that equal expressions have equal parts."""
        parts: list[str | Use | Ref] = []
        for part in expr.parts:
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            elif part != "":
                parts.append(part)
        return Expr(tuple(parts), expr.level)


@cache
def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a function's arguments, where Python knows them."""
    try:
        return {p.name: p.default for p in inspect.signature(function).parameters.values()}
    except (TypeError, ValueError):
        return {}


def is_default(node: fx.Node, key: str, value: Any) -> bool:
    """Whether a keyword argument says only what holds anyway."""
    if node.op != "call_function" or isinstance(value, fx.Node | list | tuple | dict):
        return False
    default = defaults(node.target).get(key, inspect.Parameter.empty)
    return type(default) is type(value) and bool(default == value)


WORDS = {"chunk": "parts", "split": "parts", "tensor_split": "parts", "unbind": "parts", "size": "shape"}


def hint(node: fx.Node) -> tuple[str, bool]:
    """A word for what a node gives, or an empty one, and whether it must stand apart from what it was made of."""
    if node.op == "call_module":
        words = [part for part in str(node.target).split(".") if part.isidentifier()]
        return (words[-1].lower() if words else ""), False
    if node.target is getattr:
        return str(node.args[1]), True
    if node.target is operator.getitem and isinstance(node.args[1], int):
        source = node.args[0]
        word, apart = hint(source) if isinstance(source, fx.Node) else ("", False)
        return (f"{word.removesuffix('s')}{node.args[1]}", True) if apart else ("", False)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return WORDS.get(name, ""), name in WORDS


def read_graph(module: fx.GraphModule) -> Program:
    """The forward pass of `module` as statements, in its order.

    Raises:
        RewriteError: a call, or a constant, that cannot be written without the code it comes from.
    """
    if type(module.graph._codegen) is not fx.graph.CodeGen:
        raise RewriteError("a graph whose inputs were flattened cannot be written as source")
    return Reader(module).program()
