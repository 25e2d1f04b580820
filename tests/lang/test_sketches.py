"""Every method the language must be able to tell parses, keeps its meaning when formatted, and is laid out already."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from fxprune.lang import (
    NM,
    Budget,
    Choice,
    Criterion,
    Cut,
    KeepCount,
    Limit,
    Mark,
    ModelRef,
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
    bind,
    format_spec,
    parse,
)

SKETCHES = sorted((Path(__file__).parent / "sketches").glob("*.prune"))


def sketch(name: str) -> Spec:
    return parse(Path(__file__).parent / "sketches" / f"{name}.prune")


def path(name: str) -> Term:
    return Term("path", name)


@pytest.mark.parametrize("file", SKETCHES, ids=lambda file: file.stem)
def test_canonical(file: Path) -> None:
    assert format_spec(parse(file)) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", SKETCHES, ids=lambda file: file.stem)
def test_written_from_its_meaning_alone(file: Path) -> None:
    spec = parse(file)
    by_hand = Spec(spec.statements)
    assert parse(format_spec(by_hand)) == spec


@pytest.mark.parametrize("file", SKETCHES, ids=lambda file: file.stem)
def test_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 25


def test_l1() -> None:
    assert sketch("l1").statements == (
        Cut(granularity="filters", amount=Share(Fraction(1, 2)), criterion=Criterion("l1")),
    )


def test_budget() -> None:
    protect, cut, _ = sketch("budget").statements
    assert protect == Protect(Selection((path("tail.*"), path("first_conv"))))
    assert isinstance(cut, Cut)
    assert cut.amount == Budget("macs", 40_600_000_000, (1280, 720))
    assert (cut.scope, cut.multiple_of) == ("global", 8)


def test_srp() -> None:
    spec = sketch("srp")
    (model,) = spec.of(ModelRef)
    assert model.keywords() == {"blocks": 16, "width": 256, "scale": 2, "final_conv": False}
    assert model.weights == "edsr-256-x2.safetensors"
    (mark,) = spec.of(Mark)
    assert mark.amount == Share(Fraction("0.82421875"))
    assert mark.choices == (
        Choice(Selection((Term("role", "free"),)), criterion=Criterion("l1")),
        Choice(Selection((Term("role", "constrained"),)), criterion=Criterion("random", (("seed", 1),))),
    )
    (cut,) = spec.of(Cut)
    assert cut.bakes
    shrink, hold, finetune = (s for s in spec.of(Phase) if s.word in ("shrink", "hold", "finetune"))
    assert shrink.subject == Criterion("l2")
    step = Option("step", (Fraction(1, 10**4),), (("every", 20),))
    assert shrink.options == (step, Option("until", (Fraction(1, 2),)))
    assert hold.steps == Steps(43150)
    assert finetune.options[1] == Option("halve", (), (("every", 200_000),))


def test_assl_shrinks_while_it_aligns() -> None:
    align = next(s for s in sketch("assl").of(Phase) if s.word == "align")
    assert align.steps == Steps(17260)
    assert align.options == ()
    assert align.meanwhile is not None
    assert (align.meanwhile.word, align.meanwhile.on, len(align.meanwhile.options)) == ("shrink", "scale", 2)


def test_iss_p_halves_at_several_steps() -> None:
    *_, finetune = sketch("iss-p").of(Phase)
    assert finetune.options[1] == Option("halve", (), (("at", (250_000, 400_000, 450_000, 475_000)),))


def test_lth() -> None:
    (repeat,) = sketch("lth").of(Repeat)
    assert repeat.times == 8
    assert [s.word for s in repeat.body] == ["train", "cut", "rewind"]


def test_erss_binds_its_loop_variable() -> None:
    (repeat,) = sketch("erss").of(Repeat)
    cut = repeat.body[0]
    assert isinstance(cut, Cut)
    assert cut.amount == Variable("kept", keep=True)
    bound = bind(repeat.body, "kept", repeat.values[-1])[0]
    assert isinstance(bound, Cut)
    assert bound.amount == Share(Fraction("0.875"), kept=True)


def test_nm() -> None:
    (cut,) = sketch("nm").of(Cut)
    assert cut.amount == NM(2, 4)
    assert cut.selection == Selection((Term("kind", "Linear"),))


def test_fmp() -> None:
    train = next(s for s in sketch("fmp").of(Phase) if s.word == "train")
    assert train.until == Limit("total params removed", ">=", Percent(Fraction("0.915")))


def test_several() -> None:
    (repeat,) = sketch("several").of(Repeat)
    first, second, third, _, _ = repeat.body
    assert isinstance(first, Mark)
    assert isinstance(second, Mark)
    assert isinstance(third, Mark)
    assert first.amount == Variable("r")
    assert first.selection == Selection((path("body.**"),), (path("body.0"), path("odd-name")))
    assert first.aggregate == "max"
    assert second.amount == Share(Fraction(3, 10))
    assert third.choices[0].amount == KeepCount(32)
    assert third.choices[1].amount == Share(Fraction(1, 4), rounding="down")
    assert third.choices[1].selection.terms == (Term("role", "constrained"), path("body.[0-3].*"))
    assert third.choices[1].multiple_of == 4
