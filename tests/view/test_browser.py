"""The page in a real browser: it opens quietly, folds, lights up what belongs together, and works without a mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fxprune import parse
from fxprune.groups import Groups
from fxprune.plan import make_plan
from fxprune.view.boxes import Box
from fxprune.view.layout import Placed
from fxprune.view.page import groups_html
from fxprune.view.picture import Picture, picture

pytestmark = pytest.mark.browser

Found = Callable[..., Groups]
Opened = Callable[[str], Any]

PLACES = """() => [...document.querySelectorAll("#graph .node")].map((node) => {
  let [x, y] = [0, 0];
  for (let at = node; at.id !== "graph"; at = at.parentNode) {
    const found = /translate\\(([-\\d.]+) ([-\\d.]+)\\)/.exec(at.getAttribute("transform") || "");
    if (found) [x, y] = [x + Number(found[1]), y + Number(found[2])];
  }
  return [Number(node.dataset.stop), x, y];
})"""
WIRES = """() => [...document.querySelectorAll("#graph .drawing .wire")].map((wire) => wire.getAttribute("d"))"""


def cards(placed: Placed, x: float = 0, y: float = 0) -> Iterator[tuple[int, float, float]]:
    for inner in placed.inside:
        if isinstance(inner.item, Box):
            yield from cards(inner, x + inner.x, y + inner.y)
        else:
            yield inner.item, x + inner.x, y + inner.y


def boxes(box: Box) -> Iterator[Box]:
    yield box
    for item in box.items:
        if isinstance(item, Box):
            yield from boxes(item)


def wires(placed: Placed) -> Iterator[str]:
    yield from (wire.path for wire in placed.wires)
    for inner in placed.inside:
        yield from wires(inner)


def same_picture(page: Any, drawn: Picture) -> None:
    ours, theirs = sorted(cards(drawn.placed)), sorted(map(tuple, page.evaluate(PLACES)))
    assert [one[0] for one in ours] == [one[0] for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert abs(one[1] - other[1]) < 0.5
        assert abs(one[2] - other[2]) < 0.5
    assert sorted(wires(drawn.placed)) == sorted(page.evaluate(WIRES))


@pytest.mark.parametrize("name", ["edsr", "imdn", "carn", "drrn", "vdsr", "lapsrn"])
def test_the_page_puts_everything_where_the_svg_does(found: Found, opened: Opened, name: str) -> None:
    groups = found(name)
    page = opened(groups_html(groups))
    same_picture(page, picture(groups))
    page.click("#unfold")
    same_picture(page, picture(groups, folded=lambda box: False))
    page.click("#refold")
    same_picture(page, picture(groups))


def test_folding_by_mouse_and_keyboard(found: Found, opened: Opened) -> None:
    page = opened(groups_html(found("edsr")))
    count = page.locator(".node").count()
    page.click(".fold")
    assert page.locator(".node").count() == count + 15 * 3
    assert page.locator(".fold").first.get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.activeElement.dataset.box") is not None
    page.keyboard.press("Enter")
    assert page.locator(".node").count() == count


SHOWN = """() => [...document.querySelectorAll("#graph .node")].map((node) => node.dataset.path ?? node.dataset.box)"""
CLASHES = """() => {
  const all = [...document.querySelectorAll("#graph .node")];
  const held = all.map((node) => node.querySelector(".card, .pill").getBoundingClientRect());
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  return held.flatMap((a, k) => held.slice(k + 1).filter((b) => !apart(a, b))).length;
}"""
SMALL = {"edsr": {"blocks": 2, "width": 8}, "rcan": {"groups": 2, "blocks": 2}, "imdn": {"blocks": 2}, "lapsrn": {}}


@pytest.mark.parametrize("name", SMALL)
def test_every_module_closes_to_one_card_and_opens_again(found: Found, opened: Opened, name: str) -> None:
    groups = found(name, **SMALL[name])
    page = opened(groups_html(groups))
    page.click("#unfold")
    before = page.evaluate(SHOWN)
    titles = page.locator(".shut").evaluate_all("all => all.map(one => one.dataset.box)")
    assert len(titles) == len({box.number for box in boxes(picture(groups).root)}) - 1
    for k, box in enumerate(titles):
        header = page.locator(f'.shut[data-box="{box}"]')
        if k % 2:
            header.click(position={"x": 12, "y": 12})
        else:
            header.focus()
            page.keyboard.press("Enter")
        assert page.locator(".closed").count() == 1
        assert page.locator(".node").count() < len(before)
        assert page.evaluate(CLASHES) == 0
        assert page.evaluate("document.activeElement.matches('.closed') && document.activeElement.dataset.box") == box
        page.keyboard.press("ArrowRight")
        assert page.evaluate(SHOWN) == before
        assert page.evaluate("document.activeElement.matches('.shut') && document.activeElement.dataset.box") == box


def test_what_is_closed_lights_up_and_is_opened_by_a_search(found: Found, opened: Opened) -> None:
    groups = found("rcan", **SMALL["rcan"])
    page = opened(groups_html(groups))
    page.click("#close")
    assert page.locator(".closed").count() == 2
    page.locator(".node[data-path=head]").dispatch_event("pointerover")
    assert page.locator(".closed.lit").count() == 2  # the body makes the stream of the head, the tail reads it
    page.locator(".node[data-path=sub_mean]").dispatch_event("pointerover")
    assert page.locator(".closed.lit").count() == 0
    page.fill("#search", "body.1.body.1.attention.excite.2")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.path") == "body.1.body.1.attention.excite.2"


def test_the_keyboard_opens_everything(found: Found, opened: Opened) -> None:
    groups = found("rcan", **SMALL["rcan"])
    page = opened(groups_html(groups))
    page.click("#unfold")
    wanted = sorted(page.evaluate(SHOWN))
    page.click("#close")
    for _ in range(400):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.closed, .fold[aria-expanded=false]')"):
            page.keyboard.press("Enter")
        if sorted(page.evaluate(SHOWN)) == wanted:
            return
    raise AssertionError("something stays closed")


@pytest.mark.parametrize("name", ["edsr", "imdn", "fsrcnn"])
def test_hovering_lights_up_the_members_of_the_groups(found: Found, opened: Opened, name: str) -> None:
    groups = found(name, **({"blocks": 2} if name != "fsrcnn" else {}))
    page = opened(groups_html(groups))
    page.click("#unfold")
    stops = picture(groups).flow.stops
    for node in page.locator(".node").all():
        stop = stops[int(node.get_attribute("data-stop"))]
        node.dispatch_event("pointerover")
        lit = set(page.locator(".node.lit").evaluate_all("all => all.map(one => one.dataset.path)"))
        assert lit == {member.path for index in stop.made for member in groups.groups[index].members}
        node.dispatch_event("pointerout")
        assert page.locator(".node.lit").count() == 0


def test_the_keyboard_reaches_every_node(found: Found, opened: Opened) -> None:
    groups = found("imdn", blocks=2)
    page = opened(groups_html(groups))
    page.click("#unfold")
    wanted = set(page.locator(".node").evaluate_all("all => all.map(one => one.dataset.stop)"))
    reached: set[str] = set()
    lit = False
    for _ in range(len(wanted) + 60):
        page.keyboard.press("Tab")
        stop = page.evaluate("document.activeElement.dataset.stop")
        if stop is not None:
            reached.add(stop)
            lit = lit or page.locator(".node.lit").count() > 0
    assert reached == wanted
    assert lit


def test_finding_a_layer_unfolds_it(found: Found, opened: Opened) -> None:
    page = opened(groups_html(found("rcan")))
    page.keyboard.press("/")
    page.keyboard.type("body.7.body.13.conv2")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.path") == "body.7.body.13.conv2"
    page.keyboard.press("Escape")
    assert page.locator("#results li").count() == 0


def test_a_plan_is_told_in_ranges(found: Found, opened: Opened) -> None:
    groups = found("imdn")
    plan = make_plan(parse("cut filters 40% by l1 globally"), groups)
    page = opened(groups_html(groups, plan))
    shown = page.locator(".node .now").evaluate_all("all => all.map(one => one.textContent)")
    drawn = picture(groups, plan)
    told = [shape.text for card in drawn.cards.values() for shape in card.shapes if shape.look == "now"]  # type: ignore[union-attr]
    assert sorted(shown) == sorted(told)
    assert any("–" in text for text in shown)


def test_hostile_names_do_nothing(hostile: Groups, opened: Opened) -> None:
    page = opened(groups_html(hostile))
    for node in page.locator(".node").all():
        node.dispatch_event("pointerover")
    page.fill("#search", "script")
    page.click("#close")
    assert page.evaluate("globalThis.hacked") is None
    assert page.locator("#graph img, #details img, #results img").count() == 0


def test_the_largest_network_unfolds_at_once(found: Found, opened: Opened) -> None:
    page = opened(groups_html(found("rcan")))
    page.evaluate("globalThis.start = performance.now(); document.getElementById('unfold').click()")
    taken = page.evaluate("performance.now() - globalThis.start")
    assert page.locator(".node").count() > 1400
    assert taken < 3000
