"""Statements in, lines of Python out: values used once are nested, the others get names that are used again."""

from __future__ import annotations

import builtins
import keyword
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fxprune.emit.program import Expr, Index, Loop, Node, Path, Program, Ref, Stmt, Use, outs, uses
from fxprune.errors import RewriteError

__all__ = ["access", "lines_of", "nest"]

NESTED = 84  # characters a nested expression may have
RESERVED = {"self", "torch", "nn", "F", "math", "operator", *keyword.kwlist}
Clear = Callable[[int, str], bool]  # whether a name is free for as long as a value lives
SPARE = ("x", "y", "z", "u", "v", "w")


def nest(nodes: Sequence[Node], counts: Mapping[int, int]) -> list[Node]:
    """Put each value that is read once, by the very next statement, into that statement.

    The order of evaluation stays: what is put in stands to the left of all that was put in before.
    """
    out: list[Node] = []
    for node in nodes:
        if isinstance(node, Loop):
            out.append(replace(node, body=tuple(nest(node.body, counts))))
            continue
        limit = len(node.expr.parts)  # parts from here on already hold nested calls
        while out and isinstance(before := out[-1], Stmt) and before.out is not None and counts[before.out] == 1:
            place = next((i for i, p in enumerate(node.expr.parts) if isinstance(p, Use) and p.value == before.out), -1)
            if not 0 <= place < limit:
                break
            merged = put(node.expr, place, before.expr)
            if length(merged) > NESTED:
                break
            assigns = node.out is None and not str(node.expr.parts[0]).startswith("return ")
            node, limit = replace(node, expr=merged), 0 if assigns else place  # a[i] = b evaluates b first
            out.pop()
        out.append(node)
    return out


def put(outer: Expr, place: int, inner: Expr) -> Expr:
    use = outer.parts[place]
    assert isinstance(use, Use)
    inside = inner.parts if inner.level >= use.level else ("(", *inner.parts, ")")
    return Expr((*outer.parts[:place], *inside, *outer.parts[place + 1 :]), outer.level)


def length(expr: Expr) -> int:
    """About how long an expression is, once its values have names."""
    sizes = (
        len(p)
        if isinstance(p, str)
        else 3
        if isinstance(p, Use)
        else 5 + sum(len(q) + 1 for q in p.path[-2:] if isinstance(q, str))
        for p in expr.parts
    )
    return sum(sizes)


def count_uses(nodes: Sequence[Node]) -> Counter[int]:
    """How often each value is read, or handed from turn to turn."""
    counts: Counter[int] = Counter()
    for node in nodes:
        if isinstance(node, Loop):
            counts += count_uses(node.body)
            for carried in node.carried:
                counts.update({carried.init: 2, carried.last: 2})
        else:
            counts.update(uses(node))
    return counts


def attribute(name: str) -> str:
    """How a member is reached from its container: `.conv`, `[3]`, `["odd name"]`."""
    if name.isidentifier() and not keyword.iskeyword(name):
        return f".{name}"
    return f"[{name}]" if name.isdigit() else f'["{name}"]'


def access(path: Path, loops: Mapping[int, str]) -> str:
    """A path as an expression; `loops` gives the text of a loop's running member, or of its index between brackets."""
    text = "self"
    for part in path:
        if isinstance(part, Index):
            name = loops[part.loop]
            text = f"{text}{name}" if name.startswith("[") else name
        else:
            text += attribute(part)
    return text


@dataclass
class Namer:
    """Names for the values of one forward pass."""

    taken: set[str]  # names never given to a value
    names: dict[int, str] = field(default_factory=dict)
    loops: dict[int, str] = field(default_factory=dict)
    apart: set[int] = field(default_factory=set)  # values whose name tells what they are, and is not passed on

    def fresh(self, hint: str, busy: set[str]) -> str:
        """A name that is free: the hint, with a number if it must be, or one of a few letters."""
        forbidden = busy | self.taken
        if hint and hint.isidentifier() and not hasattr(builtins, hint):
            again = "_" if hint[-1].isdigit() else ""
            choices: Iterator[str] = (f"{hint}{again if i else ''}{i or ''}" for i in range(len(forbidden) + 2))
        else:
            choices = (f"{letter}{i or ''}" for i in range(len(forbidden) + 2) for letter in SPARE)
        return next(name for name in choices if name not in forbidden)

    def text(self, expr: Expr) -> str:
        """An expression with its values named."""
        words = []
        for part in expr.parts:
            if isinstance(part, Use):
                words.append(self.names[part.value])
            else:
                words.append(access(part.path, self.loops) if isinstance(part, Ref) else part)
        return "".join(words)

    def block(
        self, nodes: Sequence[Node], own: set[int], pinned: set[str], forced: Mapping[int, str]
    ) -> Iterator[tuple[int, str]]:
        """Lines of a block, each with its depth.

        Args:
            nodes: the block.
            own: values whose names may be used again once they have been read for the last time.
            pinned: names that hold something needed after the block, or in its next turn.
            forced: values that must get a given name, and keep it to the end of the block.
        """
        last = {value: i for i, node in enumerate(nodes) for value in uses(node)}
        made = {value: i for i, node in enumerate(nodes) for value in outs(node)}
        for value in forced:
            last[value] = len(nodes)
        own = own | set(made)
        alive = set(own) & set(self.names)
        for i, node in enumerate(nodes):
            read = dict.fromkeys(value for value in uses(node) if value in own)
            alive = {value for value in alive if last.get(value, -1) > i}
            busy = pinned | {self.names[value] for value in alive}
            dying = [self.names[value] for value in read if last[value] == i and value not in self.apart]

            def clear(value: int, name: str, busy: set[str] = busy) -> bool:
                """Whether `name` is free for as long as `value` lives."""
                clashes = any(n == name and last.get(value, -1) > made[f] for f, n in forced.items() if f in made)
                return name not in busy and name not in self.taken and not clashes

            if isinstance(node, Stmt):
                if node.out is not None:
                    self.names[node.out] = self.chosen(node, dying, forced, clear, busy)
                    alive.add(node.out)
                    yield 0, f"{self.names[node.out]} = {self.text(node.expr)}"
                else:
                    yield 0, self.text(node.expr)
            else:
                yield from self.loop(node, dying, busy, forced, clear)
                alive |= set(outs(node))

    def chosen(
        self, node: Stmt, dying: list[str], forced: Mapping[int, str], clear: Callable[[int, str], bool], busy: set[str]
    ) -> str:
        assert node.out is not None
        if node.apart:
            self.apart.add(node.out)
        if node.out in forced:
            return forced[node.out]
        again = next((name for name in dying if not node.apart and clear(node.out, name)), None)
        return again or self.fresh(node.hint, busy | {n for n in forced.values() if not clear(node.out, n)})

    def loop(
        self, node: Loop, dying: list[str], busy: set[str], forced: Mapping[int, str], clear: Clear
    ) -> Iterator[tuple[int, str]]:
        """Lines of a loop: the values it hands on keep one name from before the first turn to after the last."""
        inits = {c.init for c in node.carried}
        free = {self.names[v] for v in list(uses(node))[len(node.carried) :]}
        held: set[str] = set()
        after: list[str] = []
        ends: dict[int, str] = {}
        for carried in node.carried:
            before = self.names[carried.init]
            wish = [forced[carried.result]] if carried.result in forced else []
            wish += [before] if before in dying else []
            blocked = free | held | busy | {self.names[i] for i in inits if self.names[i] != before}
            usable = (n for n in wish if n not in blocked and (carried.result in forced or clear(carried.result, n)))
            name = next(usable, None) or self.fresh("", blocked | set(forced.values()) | {before})
            if name != before:
                yield 0, f"{name} = {before}"
            held.add(name)
            self.names[carried.phi] = ends[carried.last] = name
            self.names[carried.result] = name
            if carried.result in forced and forced[carried.result] != name:
                after.append(f"{forced[carried.result]} = {name}")
                self.names[carried.result] = forced[carried.result]
        pinned = busy | free
        heading, variables = self.heading(node, pinned | held | set(forced.values()))
        yield 0, heading
        phis = {c.phi for c in node.carried}
        for depth, line in self.block(node.body, phis, pinned | variables, ends):
            yield depth + 1, line
        yield from ((0, line) for line in after)

    def heading(self, node: Loop, busy: set[str]) -> tuple[str, set[str]]:
        """The `for` line, and the variables it sets."""
        end = node.start + node.count
        if len(node.lists) > 1:
            index = next(i for i in ("i", "j", "k", "m", "n") if i not in busy | self.taken)
            self.loops[node.number] = f"[{index}]"
            return f"for {index} in range({node.start}, {end}):", {index}
        walked = node.lists[0]
        word = next((p for p in reversed(walked) if isinstance(p, str) and p.isidentifier()), "block")
        name = self.fresh("block" if word in ("body", "trunk", "main") else singular(word), busy)
        self.loops[node.number] = name
        part = "" if node.whole else f"[{node.start or ''}:{end}]"
        return f"for {name} in {access(walked, self.loops)}{part}:", {name}


def singular(word: str) -> str:
    """What a member of a list is called."""
    return word[:-1] if word.endswith("s") and len(word) > 2 else "layer"


def lines_of(program: Program, taken: set[str]) -> list[str]:
    """The body of `forward`, indented by four spaces per depth of loop.

    Args:
        program: a forward pass, possibly with loops.
        taken: names of functions that the file defines.

    Raises:
        RewriteError: an input has the name of something the file needs.
    """
    for _, name in program.inputs:
        if name in RESERVED | taken:
            raise RewriteError(f"an input of the model is called {name}, which means something else in a model file")
    namer = Namer(RESERVED | taken, dict(program.inputs), apart={value for value, _ in program.inputs[1:]})
    nodes = nest(program.nodes, count_uses(program.nodes))
    own = {value for value, _ in program.inputs}
    return ["    " * depth + line for depth, line in namer.block(nodes, own, set(), {})]
