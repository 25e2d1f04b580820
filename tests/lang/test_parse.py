"""Where specs come from, what their words and numbers mean, and how variables and used files reach them."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from fxprune.errors import SpecError
from fxprune.lang import (
    STATEMENTS,
    Budget,
    Cut,
    Input,
    KeepCount,
    Let,
    ModelRef,
    Percent,
    Phase,
    Protect,
    Share,
    Spec,
    closest,
    format_spec,
    matches,
    parse,
)
from fxprune.lang.values import spell, tidy
from fxprune.lang.words import ALIASES, CHOICE, CLAUSES, CRITERIA, OPTION, PATTERNS, POSITIONAL


def amount(text: str) -> object:
    (cut,) = parse(text).of(Cut)
    return cut.amount


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("cut 50%", Share(Fraction(1, 2))),
        ("cut 50 %", Share(Fraction(1, 2))),
        ("cut 0%", Share(Fraction(0))),
        ("cut 82.421875%", Share(Fraction(82421875, 10**8))),
        ("cut keep 25%", Share(Fraction(3, 4), kept=True)),
        ("cut keep 100%", Share(Fraction(0), kept=True)),
        ("cut 50% rounded nearest", Share(Fraction(1, 2), rounding="nearest")),
        ("cut keep 32", KeepCount(32)),
        ("cut until params <= 700K", Budget("params", 700_000)),
        ("cut until params<=700k", Budget("params", 700_000)),
        ("cut until params ≤ 1.5M", Budget("params", 1_500_000)),
        ("cut until macs <= 40.6G at 1280x720", Budget("macs", 40_600_000_000, (1280, 720))),
        ("cut until macs <= 1T at 1280×720", Budget("macs", 10**12, (1280, 720))),
        ("cut until macs <= 50%", Budget("macs", Fraction(1, 2))),
        ("cut until params <= 7e5", Budget("params", 700_000)),
    ],
)
def test_amounts(text: str, meaning: object) -> None:
    assert amount(text) == meaning


def test_order_of_clauses_is_free() -> None:
    (expected,) = parse("cut filters 50% in body.* by l1 globally").of(Cut)
    assert parse("cut globally by l1, in body.*, 50% filters").of(Cut) == (expected,)


def test_a_cut_alone_bakes() -> None:
    first, second = parse("mark 50%; cut").statements
    assert isinstance(second, Cut)
    assert second.bakes
    assert not parse("cut 50%").of(Cut)[0].bakes
    assert first.span is not None


def test_values_of_arguments() -> None:
    (model,) = parse("model 'n.py:b'(a=1, b=1.5, c=yes, d=no, e=none, f=relu, g=\"x y\", h=[6, 6], i=25%, j=-1)").of(
        ModelRef
    )
    assert model.name == "n.py:b"
    assert model.keywords() == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": False,
        "e": None,
        "f": "relu",
        "g": "x y",
        "h": (6, 6),
        "i": 0.25,
        "j": -1,
    }
    assert dict(model.args)["i"] == Percent(Fraction(1, 4))


def test_an_argument_list_may_go_over_lines() -> None:
    text = "model edsr(\n    blocks=16,  # as in the paper\n    scale=2,\n)\nprotect a,  # one\n    b"
    spec = parse(text)
    assert spec.of(ModelRef)[0].keywords() == {"blocks": 16, "scale": 2}
    assert len(spec.of(Protect)[0].what.terms) == 2
    assert format_spec(spec) == "# as in the paper\nmodel edsr(blocks=16, scale=2)\n# one\nprotect a, b\n"


def test_several_inputs() -> None:
    (given,) = parse("input 1x3x48x48, 1x1").of(Input)
    assert given.shapes == ((1, 3, 48, 48), (1, 1))
    assert given.shape == (1, 3, 48, 48)


def test_spans_point_at_what_was_written() -> None:
    text = "protect tail.*\ncut filters 50% in body.** by l1\n"
    (cut,) = parse(text).of(Cut)
    found = [node.span for node in (cut, cut.amount, cut.selection, cut.criterion) if node is not None and node.span]
    assert [text[s.start : s.end] for s in found] == ["cut filters 50% in body.** by l1", "50%", "body.**", "l1"]


# -- where specs come from ---------------------------------------------------------------------------------------------


def test_text_and_paths(tmp_path: Path) -> None:
    file = tmp_path / "half.prune"
    file.write_bytes(b"\xef\xbb\xbfcut filters 50%\r\n")
    assert parse(file) == parse(str(file)) == parse("cut filters 50%")
    assert parse(file).source.name == str(file)
    assert parse(file, name="half").source.name == "half"
    other = tmp_path / "noext"
    other.write_text("cut 10%", encoding="utf-8")
    assert parse(str(other)) == parse("cut 10%")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: nothing to do"),
        (b"\n \n# nothing\n", "is empty: nothing to do"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file"),
        (b"cut\x00", "is not a text file"),
        ("cut 50% # é".encode("latin-1"), "is not a text file"),
        (b"# " + b"x" * (1 << 20), "is too large to be a spec"),
    ],
)
def test_files_that_are_no_specs(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.prune"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=message) as caught:
        parse(file)
    assert str(file) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.prune").mkdir()
    with pytest.raises(SpecError, match="is a folder"):
        parse(tmp_path / "folder.prune")
    with pytest.raises(SpecError, match="there is no file"):
        parse(str(tmp_path / "absent.prune"))
    (tmp_path / "half.prune").touch()
    with pytest.raises(SpecError, match=r"did you mean .*half\.prune"):
        parse(tmp_path / "haf.prune")
    with pytest.raises(SpecError, match=r"cannot be read|no file"):
        parse(tmp_path / ("x" * 300 + ".prune"))


def test_empty_text() -> None:
    with pytest.raises(SpecError, match="nothing to do"):
        parse("")


def test_brackets_beyond_all_measure() -> None:
    with pytest.raises(SpecError, match="deeper than 20 levels"):
        parse("repeat 2 { " * 5000)


# -- variables and used files ------------------------------------------------------------------------------------------


def test_a_variable_stands_for_its_value_everywhere() -> None:
    text = "let r = 50%\nlet n = 8\nlet m = n\nlet b = 4\nmodel edsr(blocks=b)\ncut r multiple of m\n"
    spec = parse(text, variables={"b": "[1, 2]", "r": "70%"})
    (cut,) = spec.of(Cut)
    assert (cut.amount, cut.multiple_of) == (Share(Fraction(7, 10)), 8)
    assert spec.of(ModelRef)[0].keywords() == {"blocks": (1, 2)}
    assert spec.of(Let)[0].value == Percent(Fraction(7, 10))
    assert spec.variables == {"r": Percent(Fraction(7, 10)), "n": 8, "m": 8, "b": (1, 2)}
    assert format_spec(spec) == text


def test_a_limit_may_be_a_variable() -> None:
    spec = parse("let top = 0.5\nmark filters 50%\nshrink l2 { step 1e-4 every 20, until top }\ncut\n")
    (shrink,) = (s for s in spec if isinstance(s, Phase))
    assert {o.name: o.values for o in shrink.options}["until"] == (Fraction(1, 2),)


def test_names_are_no_variables_and_values_are() -> None:
    spec = parse("let start = 1e-6\nsave as start\nrewind to start\nhold 3 steps { cosine to start }\n")
    _, rewind, hold = (s for s in spec if isinstance(s, Phase))
    assert rewind.label == "start"
    assert hold.options[0].clauses == (("to", Fraction(1, 10**6)),)


def test_variables_named_as_options_are() -> None:
    """A name stays a name where an option begins; elsewhere it is the variable."""
    text = """let train = "A"
let validate = "B"
let patch = 24
let rotations = no
data train train validate validate { patch patch, flips, rotations }
"""
    (data,) = (s for s in parse(text) if isinstance(s, Phase))
    found = {o.name: o.values for o in data.options}
    assert found == {"train": ("A",), "validate": ("B",), "patch": (24,), "flips": (), "rotations": ()}


def test_a_layer_with_the_name_of_a_variable_is_quoted() -> None:
    spec = parse('let tail = 50%\nprotect "tail"\ncut tail')
    assert spec.of(Protect)[0].what.terms[0].name == "tail"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"s": "70%"}, "no variable is called `s`"),
        ({"rr": "70%"}, "did you mean `r`|there are r"),
        ({"r": "70% by"}, "is not a value"),
        ({"r": ""}, "no value is given for r"),
        ({"r": "170%"}, "170% cannot be removed"),
    ],
)
def test_values_from_outside_that_do_not_fit(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse("let r = 50%\ncut r", variables=variables)


def test_used_files_stand_in_place(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "common.prune").write_text("let r = 30%\nprotect tail.*\n", encoding="utf-8")
    (tmp_path / "plan.prune").write_text('use "parts/common.prune"\ncut r\n', encoding="utf-8")
    spec = parse(tmp_path / "plan.prune")
    assert [statement.word for statement in spec] == ["let", "protect", "cut"]
    assert spec.of(Cut)[0].amount == Share(Fraction(3, 10))
    assert format_spec(spec) == 'use "parts/common.prune"\ncut r\n'


def test_used_files_that_do_not_work(tmp_path: Path) -> None:
    (tmp_path / "a.prune").write_text('use "b.prune"\ncut 150%\n', encoding="utf-8")
    (tmp_path / "b.prune").write_text('use "a.prune"\ncut 120%\n', encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        parse(tmp_path / "a.prune")
    text = str(caught.value)
    assert "uses itself" in text
    assert "a.prune:2:5: 150%" in text
    assert "b.prune:2:5: 120%" in text


# -- numbers, globs, words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("700000", "700K"),
        ("40600000000", "40.6G"),
        ("43150", "43150"),
        ("17260", "17260"),
        ("1000000", "1M"),
        ("1024", "1024"),
        ("0.95", "0.95"),
        ("0.0001", "1e-4"),
        ("0.00025", "2.5e-4"),
        ("0.1", "0.1"),
        ("-0.5", "-0.5"),
        ("0", "0"),
    ],
)
def test_spelling(value: str, text: str) -> None:
    assert spell(Fraction(value)) == text


def test_a_third_has_no_spelling() -> None:
    with pytest.raises(ValueError, match="no decimal spelling"):
        spell(Fraction(1, 3))
    with pytest.raises(ValueError, match="no decimal spelling"):
        format_spec(Spec((Cut(amount=Share(Fraction(1, 3))),)))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("050.0%", "50%"), ("1E-04", "1e-4"), ("0.50", "0.5"), ("300k", "300k"), ("-00.10M", "-0.1M")],
)
def test_tidying(text: str, canonical: str) -> None:
    assert tidy(text) == canonical


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("tail.*", "tail.0", True),
        ("tail.*", "tail.0.conv", True),
        ("tail.*", "tail", False),
        ("tail.*", "tails.0", False),
        ("tail", "tail.0.conv", True),
        ("*.conv1", "body.conv1", True),
        ("*.conv1", "body.0.conv1", False),
        ("**.conv1", "body.0.conv1", True),
        ("**.conv1", "conv1", True),
        ("**.conv1", "body.0.conv10", False),
        ("body.**", "body.0.conv1", True),
        ("body.**", "body", False),
        ("body.**.conv1", "body.conv1", True),
        ("body.**.conv1", "body.0.a.conv1", True),
        ("**", "anything.at.all", True),
        ("conv?", "conv1", True),
        ("conv?", "conv", False),
        ("body.[0-3]", "body.2", True),
        ("body.[!0-3]", "body.2", False),
        ("body.[9-0]", "body.2", False),
        ("body.1", "body.10", False),
    ],
)
def test_globs(glob: str, path: str, expected: bool) -> None:
    assert matches(glob, path) is expected


LAYERS = ["head", "body.0.conv1", "body.0.conv2", "body.1.conv1", "tail.0.up", "tail.1"]


@pytest.mark.parametrize(
    ("glob", "meant"), [("bdy.*", "body.*"), ("hed", "head"), ("*.conv1", "**.conv1"), ("body.0.cnv1", "body.0.conv1")]
)
def test_nearest_layers(glob: str, meant: str) -> None:
    assert closest(glob, LAYERS)[0] == meant
    assert all(any(matches(found, layer) for layer in LAYERS) for found in closest(glob, LAYERS))


def test_no_layer_is_near() -> None:
    assert closest("zzz", LAYERS) == ()


@pytest.mark.parametrize("word", sorted(STATEMENTS))
def test_the_example_of_every_statement_parses(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("common.prune").write_text("protect tail.*", encoding="utf-8")
    spec = parse(f"save as start\n{STATEMENTS[word].example}")
    assert spec.statements[1].word == word


def test_the_tables_speak_of_the_same_words() -> None:
    slots = {*POSITIONAL, *CLAUSES}
    for word in STATEMENTS.values():
        assert word.takes <= slots, word.takes - slots
    assert slots >= CHOICE | OPTION
    words = {*STATEMENTS, *CLAUSES, *CRITERIA, *PATTERNS, "filters", "kernels", "weights", "macs", "params"}
    assert set(ALIASES.values()) <= words | {"export", "safetensors"}
    assert not set(ALIASES) & set(STATEMENTS)


def test_torch_stays_out() -> None:
    code = "import sys, fxprune.lang; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
