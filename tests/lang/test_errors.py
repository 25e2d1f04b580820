"""What a user reads after a mistake: each golden file holds a spec, and below it the words that come back.

To add one, write the spec into `goldens/name.txt` and run `pytest --rewrite-goldens`; review what it adds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fxprune.errors import SpecError
from fxprune.lang import parse
from fxprune.lang.foreseen import FORESEEN, Foreseen

GOLDENS = sorted((Path(__file__).parent / "goldens").glob("*.txt"))
RULE = "\n" + "-" * 80 + "\n"


@pytest.mark.parametrize("file", GOLDENS, ids=lambda file: file.stem)
def test_golden(file: Path, golden: Callable[[Path, str], None]) -> None:
    text = file.read_text(encoding="utf-8").partition(RULE)[0].rstrip("\n")
    with pytest.raises(SpecError) as caught:
        parse(f"{text}\n", name="plan.prune")
    golden(file, f"{text}{RULE}{caught.value}\n")


EXAMPLES = [(foreseen, text) for foreseen in FORESEEN for text in foreseen.texts()]


@pytest.mark.parametrize(("foreseen", "text"), EXAMPLES, ids=[text for _, text in EXAMPLES])
@pytest.mark.parametrize("line", [1, 2, 8])
def test_foreseen(foreseen: Foreseen, text: str, line: int) -> None:
    if text.startswith("{") and line > 1:
        pytest.skip("a brace at the beginning of a later line belongs to the line before it")
    with pytest.raises(SpecError) as caught:
        parse("cut filters 50% by l1\n" * (line - 1) + text + "\n")
    messages = [diagnostic.message for diagnostic in caught.value.diagnostics]
    assert foreseen.message in messages
    found = caught.value.diagnostics[messages.index(foreseen.message)]
    assert found.hint == foreseen.hint
    assert found.span is not None
    at, _ = found.span.source.position(found.span.start)
    assert line <= at <= line + text.count("\n")


def test_foreseen_mistakes_are_told_in_a_block_too() -> None:
    with pytest.raises(SpecError, match="without `=` or `:`"):
        parse("repeat 2 {\n    mark filters 50%\n    cut filters = 3\n}\n")


def test_every_mistake_is_told_in_one_go() -> None:
    text = "cut = 3\nprune filters 20%\ncut filters 0.5\nrepeat 3 {\n    save as 'x\n    cut 150%\n}\n)"
    with pytest.raises(SpecError) as caught:
        parse(text)
    lines = [d.span.source.position(d.span.start)[0] for d in caught.value.diagnostics if d.span]
    assert sorted(lines) == [1, 2, 3, 5, 6, 8]
