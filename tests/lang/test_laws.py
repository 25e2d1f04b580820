"""Laws over random specs: formatting keeps the meaning, and no text ends in anything but a Spec or a SpecError."""

from __future__ import annotations

import re
import string
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxprune.errors import SpecError
from fxprune.lang import (
    NM,
    Budget,
    Choice,
    Criterion,
    Cut,
    Emit,
    Input,
    KeepCount,
    Let,
    Mark,
    ModelRef,
    Multiple,
    Norm,
    Option,
    Percent,
    Phase,
    Protect,
    Repeat,
    Selection,
    Share,
    Spec,
    Steps,
    Term,
    Variable,
    format_spec,
    parse,
)
from fxprune.lang.scan import scan

SKETCHES = [p.read_text(encoding="utf-8") for p in sorted((Path(__file__).parent / "sketches").glob("*.prune"))]

# -- random specs, made from their meaning -----------------------------------------------------------------------------

names = st.from_regex(r"[a-z][a-z_0-9]{0,6}", fullmatch=True)
texts = st.text(alphabet=string.ascii_letters + string.digits + " ./:-_'{}#,;()é", max_size=10)
paths = st.lists(st.sampled_from(["body", "*", "**", "0", "conv?", "tail", "by", "x1"]), min_size=1, max_size=3)
shares = st.integers(0, 999_999).map(lambda n: Fraction(n, 10**6))
decimals = st.builds(lambda n, places: Fraction(n, 10**places), st.integers(-(10**7), 10**7), st.integers(0, 9))
exact = decimals.map(lambda value: int(value) if value.denominator == 1 else value)
values = st.one_of(st.integers(-(10**12), 10**12), exact, st.booleans(), st.none(), texts, names, shares.map(Percent))
arguments = st.dictionaries(names, values | st.lists(values, max_size=3).map(tuple), max_size=3)
args = arguments.map(lambda found: tuple(found.items()))

terms = st.one_of(
    paths.map(lambda parts: Term("path", ".".join(parts))),
    texts.filter(bool).map(lambda name: Term("path", name)),
    st.sampled_from(["free", "constrained", "first", "last"]).map(lambda role: Term("role", role)),
    st.sampled_from(["Conv2d", "torch.nn.Linear"]).map(lambda kind: Term("kind", kind)),
    names.map(lambda name: Term("group", name)),
)
some = st.lists(terms, min_size=1, max_size=3).map(tuple)
selections = st.one_of(
    st.builds(Selection, some), st.builds(Selection, some, some), st.builds(Selection, st.just(()), some)
)
chosen = st.builds(Selection, some) | st.builds(Selection, some, some)
roundings = st.sampled_from(["up", "down", "nearest"])
sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
amounts = st.one_of(
    st.builds(Share, shares, roundings),
    st.builds(Share, shares, roundings, st.just(True)),
    st.builds(KeepCount, st.integers(1, 10**6)),
)
budgets = st.one_of(
    st.builds(Budget, st.just("params"), st.integers(1, 10**12)),
    st.builds(Budget, st.just("macs"), st.integers(1, 10**15), sizes),
    st.builds(Budget, st.sampled_from(["params", "macs"]), st.integers(1, 999).map(lambda n: Fraction(n, 1000))),
)
criteria = st.one_of(
    st.sampled_from(["l1", "l2", "scale", "taylor"]).map(Criterion),
    st.integers(0, 2**31).map(lambda seed: Criterion("random", (("seed", seed),))),
)
ranking = {
    "criterion": st.none() | criteria,
    "aggregate": st.none() | st.sampled_from(["mean", "max", "product"]),
    "multiple_of": st.none() | st.integers(1, 64),
}
choices = st.builds(
    Choice, chosen, amount=st.none() | amounts, scope=st.sampled_from([None, "local", "global"]), **ranking
)
choosing = {
    "granularity": st.sampled_from([None, "filters"]),
    "selection": st.none() | selections,
    "scope": st.sampled_from(["local", "global"]),
    **ranking,
}
marks = st.builds(Mark, amount=amounts | budgets, choices=st.lists(choices, max_size=2).map(tuple), **choosing)
cuts = st.builds(Cut, amount=amounts | budgets, choices=st.lists(choices, max_size=2).map(tuple), **choosing)
patterns = st.builds(
    Cut,
    granularity=st.just("weights"),
    amount=st.integers(1, 3).map(lambda n: NM(n, 4)),
    selection=st.none() | selections,
)
clauses = st.tuples(st.sampled_from(["every", "at"]), exact)
options = st.lists(
    st.builds(
        Option,
        names.filter(lambda name: name not in RESERVED),
        st.lists(exact | texts | names, max_size=2).map(tuple),
        st.lists(clauses, max_size=1).map(tuple),
    ),
    max_size=3,
    unique_by=lambda option: option.name,
).map(tuple)
durations = st.builds(Steps, st.integers(1, 10**7), st.sampled_from(["steps", "epochs"]))
phases = st.one_of(
    st.builds(Phase, word=st.sampled_from(["train", "finetune", "hold"]), steps=durations, options=options),
    st.builds(Phase, word=st.just("shrink"), subject=st.just(Criterion("l2")), on=st.none() | names, options=options),
    st.builds(Phase, word=st.just("save"), label=names | texts),
    st.builds(Phase, word=st.just("widen"), factor=st.integers(11, 40).map(lambda n: Fraction(n, 10))),
)
loops = st.builds(
    Repeat, st.integers(1, 99), body=st.lists(marks | cuts | phases | patterns, min_size=1, max_size=3).map(tuple)
) | st.builds(
    Repeat,
    st.none(),
    st.just("loop"),
    st.lists(shares.map(Percent), min_size=1, max_size=3).map(tuple),
    st.just((Cut(amount=Variable("loop", keep=False)),)),
)
RESERVED = {"as", "at", "by", "in", "on", "to", "for", "let", "per", "from", "kind", "keep", "until", "every", "group"}
RESERVED |= {"step", "steps", "while", "except", "rounded", "globally", "multiple", "aggregate", "epoch", "epochs"}
once = st.one_of(
    st.builds(ModelRef, names.filter(lambda n: n not in RESERVED) | texts, args, st.none() | texts),
    st.builds(Input, st.lists(st.lists(st.integers(1, 999), min_size=2, max_size=4).map(tuple), min_size=1).map(tuple)),
    st.builds(Norm, st.sampled_from(["exact", "native"])),
    st.builds(Multiple, st.integers(1, 64)),
    st.just(Emit(("plan", "python"))),
    st.builds(Let, st.just("unused_variable"), exact | texts),
)
specs = st.builds(
    lambda head, tail: Spec((*head, *tail)),
    st.lists(once, max_size=3, unique_by=lambda s: s.word),
    st.lists(st.one_of(marks, cuts, patterns, phases, loops, st.builds(Protect, selections)), min_size=1, max_size=4),
)


@given(specs)
@settings(max_examples=150)
def test_parse_undoes_format(spec: Spec) -> None:
    text = format_spec(spec)
    again = parse(text)
    assert again == spec, text
    assert format_spec(again) == text


# -- the same specs, badly laid out ------------------------------------------------------------------------------------

gaps = st.sampled_from(["", "  ", "\t", "\n", " # a remark\n", "\n\n\n#b\n", ";\n", " ;"])


@given(st.sampled_from(SKETCHES), st.lists(gaps, min_size=40, max_size=40), st.sampled_from([" ", "   ", "\t"]))
def test_layout_does_not_matter(text: str, between: list[str], space: str) -> None:
    lines = text.split("\n")
    messy = "".join(
        f"{gap}{line.strip().replace(' ', space)}\n" for line, gap in zip(lines, between, strict=False) if line.strip()
    )
    spec = parse(messy)
    assert spec == parse(text)
    tidy = format_spec(spec)
    assert parse(tidy) == spec
    assert format_spec(parse(tidy)) == tidy
    assert remarks(tidy) == remarks(messy)
    assert max(map(len, (line.split("  #")[0] for line in tidy.split("\n") if not line.startswith("#")))) <= 100


def remarks(text: str) -> Counter[str]:
    return Counter(comment.text.strip("# \t").replace("\t", " ") for comment in scan(text).comments)


# -- whatever is written, a Spec or a SpecError ------------------------------------------------------------------------

POOL = ["%", "=", "{", "}", "(", ")", "[", "]", '"', "'", ",", ";", "#", ".", "*", ":", "<=", "\n", " ", "\t", "-", "$"]
POOL += ["0", "1e99", "9" * 40, "50%", "150%", "2:4", "1x2", "2x", "700K", "é", "\u2028", "\x0c", "x", "keep", "until"]
POOL += [
    "by",
    "in",
    "except",
    "while",
    "globally",
    "per layer",
    "let r = 50%",
    "repeat 2 {",
    "cut",
    "multiple of 0",
    "r",
]
POOL += [
    "steps",
    "for",
    "as",
    "every",
    "random(seed=1)",
    "[1, 2]",
    "mark",
    "free",
    'use "x.prune"',
    "group",
    "kind",
    "at",
]

edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace", "line", "swap", "end"]), st.floats(0, 1), st.sampled_from(POOL)
    ),
    min_size=1,
    max_size=6,
)


def mutated(text: str, changes: list[tuple[str, float, str]]) -> str:
    for how, where, new in changes:
        tokens = re.findall(r"\w+|\s+|.", text)
        if not tokens:
            return text
        at = min(int(where * len(tokens)), len(tokens) - 1)
        lines = text.split("\n")
        line = min(int(where * len(lines)), len(lines) - 1)
        match how:
            case "insert":
                tokens.insert(at, new)
            case "delete":
                del tokens[at]
            case "replace":
                tokens[at] = new
            case "line":
                tokens = list("\n".join([*lines[:line], *lines[line:], lines[line]]))
            case "swap":
                tokens = list("\n".join([*lines[line:], *lines[:line]]))
            case "end":
                del tokens[at + 1 :]
        text = "".join(tokens)
    return text


def survives(text: str) -> None:
    try:
        spec = parse("\n" + text, name="t.prune")  # never the name of a file
    except SpecError as error:
        for diagnostic in error.diagnostics:
            if diagnostic.span is None:
                assert "empty" in diagnostic.message
                continue
            span = diagnostic.span
            assert 0 <= span.start <= span.end <= len(span.source.text)
            assert re.match(r"t\.prune:\d+:\d+: ", str(diagnostic))
            assert "_NEWLINE" not in str(diagnostic)
            assert "Token(" not in str(diagnostic)
    else:
        tidy = format_spec(spec)
        assert parse("\n" + tidy) == spec
        assert format_spec(parse("\n" + tidy)) == tidy


@given(st.sampled_from(SKETCHES), edits)
@settings(max_examples=300)
def test_mutated(text: str, changes: list[tuple[str, float, str]]) -> None:
    survives(mutated(text, changes))


@pytest.mark.slow
@given(st.sampled_from(SKETCHES), edits)
@settings(max_examples=2000)
def test_mutated_at_length(text: str, changes: list[tuple[str, float, str]]) -> None:
    survives(mutated(text, changes))


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    survives(text)
