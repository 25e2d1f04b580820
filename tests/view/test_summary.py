"""report.html: what it says, that it is whole, that nothing in it runs by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fxprune
from fxprune.pipeline import Compiled
from fxprune.view.layers import layer_costs, layer_rows
from fxprune.view.summary import group_lines, highlighted, report_html
from fxprune.zoo import build
from tests.view.conftest import Hostile

SPEC = "# a half\nprotect tail.*\nmark filters 50% {\n    free by l1\n    constrained by random(seed=1)\n}\ncut\n"


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    torch.manual_seed(0)
    return fxprune.compile(SPEC, build("edsr", blocks=3, width=8))


def page_of(compiled: Compiled, **more: Any) -> str:
    return report_html(compiled.report, compiled.plan, compiled.spec, **more)


def test_layers_add_up(compiled: Compiled) -> None:
    costs = layer_costs(compiled.plan)
    for k in (0, 1):
        assert sum(cost.params[k] for cost in costs) == compiled.report.params[k]
        assert sum(cost.macs[k] for cost in costs) == compiled.report.macs[k]
        rows = layer_rows(costs)
        assert sum(row.params[k] * row.times for row in rows) == compiled.report.params[k]
        assert sum(row.macs[k] * row.times for row in rows) == compiled.report.macs[k]


def test_groups_alike_share_a_row(compiled: Compiled) -> None:
    looks = {group.index: "" for group in compiled.plan.groups}
    lines = {line.name: line for line in group_lines(compiled.plan, looks)}
    assert lines["body.{0..2}.conv1"].times == 3
    assert lines["body.{0..2}.conv1"].left == "4"
    assert lines["head"].letter == "A"
    assert sum(line.times for line in lines.values()) == len(compiled.plan.groups)


def test_the_spec_is_shown_as_it_was_written(compiled: Compiled) -> None:
    marked = highlighted(compiled.spec)
    assert re.sub(r"<[^>]*>", "", marked) == SPEC.strip("\n")
    assert '<span class="t-comment"># a half</span>' in marked
    assert '<span class="t-word">mark</span>' in marked
    assert '<span class="t-number">50%</span>' in marked
    assert highlighted(fxprune.parse("let r = 50%\ncut filters r")).startswith('<span class="t-word">let</span> r')
    assert highlighted(fxprune.parse("cut filters 10%  # </code><script>")).endswith(
        "# &lt;/code&gt;&lt;script&gt;</span>"
    )


def test_values_set_from_outside_are_told(tmp_path: Path) -> None:
    spec = fxprune.parse('let r = 50%\nlet name = "l1"\ncut filters r', variables={"r": "25%", "name": '"<b>"'})
    compiled = fxprune.compile(spec, build("edsr", blocks=1, width=8))
    page = page_of(compiled)
    assert "<code>r = 25%</code>" in page
    assert "&lt;b&gt;" in page
    assert "name = &#34;<b>" not in page
    compiled.save(tmp_path / "out")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["set"] == {"name": '"<b>"', "r": "25%"}
    again = fxprune.compile(fxprune.parse(plan["spec"], variables=plan["set"]), build("edsr", blocks=1, width=8))
    assert again.report.params == compiled.report.params


def test_the_report_says_what_was_done(compiled: Compiled) -> None:
    page = page_of(compiled, files=("model.py", "plan.json"))
    assert f"{compiled.report.params[1]:,}" in page
    assert compiled.report.verified is not None
    assert f"{compiled.report.verified.difference:.1e}" in page
    assert "1×3×" in page
    assert "readable source" in page
    assert page.count("<script") == 2


def test_a_network_without_values_is_reported() -> None:
    with torch.device("meta"):
        model = build("edsr", blocks=2, width=8)
    assert "nothing" in page_of(fxprune.compile("cut filters 50%", model)).lower()


def test_a_bar_of_several_groups_shows_the_fewest_and_the_most() -> None:
    torch.manual_seed(0)
    page = page_of(fxprune.compile("cut filters 40% by l1 globally", build("edsr", blocks=3, width=8)))
    assert re.search(r'<i class="free most" style="width:[\d.]+%"></i><i class="free" style="width:[\d.]+%">', page)
    assert "most" not in re.findall(r'class="meter constrained">(.*?)</div>', page)[0]


@pytest.mark.browser
def test_the_report_opens_in_a_browser(compiled: Compiled, opened: Callable[[str], Any]) -> None:
    page = opened(page_of(compiled, files=("model.py",)))
    page.click("summary")
    assert page.locator("details table tbody tr").first.is_visible()
    assert page.locator(".node").count() > 5


@pytest.mark.browser
def test_hostile_names_in_a_report(opened: Callable[[str], Any]) -> None:
    torch.manual_seed(0)
    compiled = fxprune.compile("cut filters 50%", Hostile(), torch.rand(1, 3, 8, 8))
    page = opened(page_of(compiled))
    assert page.evaluate("globalThis.hacked") is None
    assert page.locator("img").count() == 0


@pytest.mark.slow
def test_the_report_of_the_largest_network_is_small() -> None:
    torch.manual_seed(0)
    assert len(page_of(fxprune.compile("cut filters 50%", build("rcan"))).encode()) < 2_000_000
