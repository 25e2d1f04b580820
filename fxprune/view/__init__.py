"""Any value → text, JSON and pictures.

```
flow, contract                     the fx graph → layers and the ops that matter
boxes, sheet, layout, draw, style  → nested boxes, rows, places, shapes, how they look
picture, closed                    → everything that is drawn, and what stands for a closed module
svg, png, page, constraint, files  → an SVG, a PNG, a page, a networkx graph, a file by its ending
report, layers, summary            a compile → its report: a value, costs by layer, report.html
curves, chart                      the events of training → charts
terminal, listing, folding         groups and reports → tables in a terminal
training, progress                 an event of training → a line, a bar in a terminal
why, catalogue                     chains of ties; the zoo
```
"""

from __future__ import annotations

from fxprune.view.report import GroupRow, Report, make_report

__all__ = ["GroupRow", "Report", "make_report"]
