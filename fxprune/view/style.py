"""How everything looks: colours that the colour-blind can tell apart, light and dark, as CSS and as numbers.

The eight group colours are Okabe and Ito's (2008) without yellow and black, and two of Tol's. Nothing is said by colour
alone: groups carry letters, protected channels are hatched, what is cut away is empty, residual edges are thick.
"""

from __future__ import annotations

__all__ = ["DARK", "GROUPS", "INK", "LIGHT", "css", "ink"]

GROUPS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#AA3377", "#999933")
INK = ("#ffffff", "#1d1300", "#ffffff", "#1d0a14", "#ffffff", "#04202f", "#ffffff", "#1a1a00")  # text on them

LIGHT = {
    "page": "#ffffff",
    "panel": "#f6f7f9",
    "card": "#ffffff",
    "box": "rgba(60,80,110,.035)",
    "frame": "#c9d0da",
    "text": "#1b2330",
    "muted": "#5c6878",
    "edge": "#8f9bab",
    "wire": "#98a3b2",
    "free": "#dfe4ea",
    "hatch": "#7b8794",
    "accent": "#0b57c2",
}
DARK = {
    "page": "#12161c",
    "panel": "#1a2029",
    "card": "#1f2630",
    "box": "rgba(160,185,220,.04)",
    "frame": "#3b4656",
    "text": "#e6ebf2",
    "muted": "#9aa7b8",
    "edge": "#5d6b7e",
    "wire": "#69778a",
    "free": "#3a4452",
    "hatch": "#93a1b3",
    "accent": "#79b4ff",
}
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"


def ink(look: str) -> str:
    """Colour of text on a group's colour."""
    return INK[int(look[1:])]


def _variables(theme: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in theme.items())


def css(scope: str = "svg.fxprune") -> str:
    """Style of a picture, dark where the reader prefers it; `data-theme` on the root element has the last word."""
    rules = [
        f":root{{{_variables(LIGHT)}}}",
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{_variables(DARK)}}}}}",
        f":root[data-theme=dark]{{{_variables(DARK)}}}",
        f"{scope}{{font-family:{MONO};font-size:12px;fill:var(--text)}}",
        f"{scope} .page{{fill:var(--page)}}",
        f"{scope} .box{{fill:var(--box);stroke:var(--frame)}}",
        f"{scope} .under{{fill:var(--page);stroke:var(--frame)}}",
        f"{scope} .title{{font-size:11px;fill:var(--muted);paint-order:stroke;stroke:var(--page);stroke-width:3px}}",
        f"{scope} .badge{{fill:var(--muted)}}",
        f"{scope} .times{{font-size:11px;font-weight:600;fill:var(--page)}}",
        f"{scope} .card{{fill:var(--card)}}",
        f"{scope} .edge{{fill:none;stroke:var(--edge)}}",
        f"{scope} .pill{{fill:var(--card);stroke:var(--edge)}}",
        f"{scope} .port{{fill:var(--panel)}}",
        f"{scope} .name{{font-weight:600}}",
        f"{scope} .sub,{scope} .width,{scope} .was{{font-size:10px;fill:var(--muted)}}",
        f"{scope} .was{{text-decoration:line-through}}",
        f"{scope} .now{{font-size:10px;font-weight:700;fill:var(--accent)}}",
        f"{scope} .op{{font-size:11px}}",
        f"{scope} .on{{font-size:11px;font-weight:600}}",
        f"{scope} .tiny{{font-size:9px;font-weight:700}}",
        f"{scope} .free{{fill:var(--free)}}",
        f"{scope} .none{{fill:none}}",
        f"{scope} .seg.fixed{{fill:url(#hatch)}}",
        f"{scope} .tint{{fill-opacity:.13}}",
        f"{scope} .tint.fixed{{fill:url(#hatch);fill-opacity:1;opacity:.22}}",
        f"{scope} .cut{{fill:var(--card);stroke:var(--edge);stroke-width:.7;stroke-dasharray:2 2}}",
        f"{scope} .wire{{fill:none;stroke:var(--wire);stroke-width:1.3}}",
        f"{scope} .wire.residual{{stroke-width:3;stroke-opacity:.85}}",
        f"{scope} .arrow{{fill:var(--wire)}}",
        f"{scope} .hatching{{stroke:var(--hatch);stroke-width:2}}",
    ]
    for k, (colour, text) in enumerate(zip(GROUPS, INK, strict=True)):
        rules += [
            f"{scope} .k{k}{{fill:{colour}}}",
            f"{scope} .on.k{k}{{fill:{text}}}",
            f"{scope} .wire.k{k}{{stroke:{colour};fill:none}}",
            f".chip.k{k}{{background:{colour};color:{text}}}",
        ]
    return "\n".join(rules)
