"""`Groups` and perhaps a `Plan` → the constraint graph as a networkx graph, and as JSON, GraphML or DOT."""

from __future__ import annotations

import io
import json
from typing import Any

import networkx as nx

from fxprune.groups import Group, Groups
from fxprune.plan import Plan
from fxprune.view.contract import flow_of
from fxprune.view.draw import letters
from fxprune.view.flow import Flow, Portion, Stop
from fxprune.view.style import GROUPS
from fxprune.view.svg import UNSEEN
from fxprune.view.why import ties_of

__all__ = ["constraint_graph", "to_dot", "to_graphml", "to_json"]


def constraint_graph(groups: Groups, plan: Plan | None = None) -> nx.DiGraph:
    """Layers and the ops that matter, and what flows between them.

    Nodes are named as in the fx graph and carry `path`, `what` ("Conv2d 3×3", "add"), `kind` (layer, op, input,
    output), `width_in` and `width_out` in channels and, as `width_in_after` and `width_out_after`, what the plan leaves
    of them; `groups_in`, `groups_out` and `groups` (those its parameters belong to) as indices joined by commas;
    `group_kind` of what it makes (protected before constrained before free) and `reason`. Edges carry `residual`, and
    as `tie` the op at their end if it ties what meets there. The graph's own attributes hold the groups.
    """
    flow = flow_of(groups, None if plan is None else plan.removed)
    graph = nx.DiGraph(model=type(groups.traced.module).__name__, planned=plan is not None)
    for stop in flow:
        graph.add_node(stop.node, **_node(flow, stop))
    for edge in flow.edges:
        target = flow.stops[edge.target]
        tie = target.what if target.ties else ""
        graph.add_edge(flow.stops[edge.source].node, target.node, residual=edge.residual, tie=tie)
    return graph


def _node(flow: Flow, stop: Stop) -> dict[str, Any]:
    kinds = {flow.groups.groups[k].kind for k in stop.made}
    return {
        "path": stop.path,
        "what": stop.what,
        "kind": stop.kind,
        "width_in": stop.width("enters"),
        "width_out": stop.width("leaves"),
        "width_in_after": stop.width("enters", True),
        "width_out_after": stop.width("leaves", True),
        "groups_in": _indices(stop.enters),
        "groups_out": _indices(stop.leaves),
        "groups": ",".join(map(str, stop.groups)),
        "group_kind": next((kind for kind in ("protected", "constrained", "free") if kind in kinds), ""),
        "reason": stop.reason or "",
    }


def _indices(portions: tuple[Portion, ...]) -> str:
    return ",".join(str(p.group) for p in portions if p.group is not None)


def to_json(groups: Groups, plan: Plan | None = None) -> dict[str, Any]:
    """The constraint graph as plain values: nodes, edges, and the groups with their members and ties."""
    graph = constraint_graph(groups, plan)
    flow = flow_of(groups, None if plan is None else plan.removed)
    ties = ties_of(groups)
    named = letters(groups)
    return {
        "model": graph.graph["model"],
        "planned": graph.graph["planned"],
        "nodes": [{"id": name, **values} for name, values in graph.nodes(data=True)],
        "edges": [{"source": a, "target": b, **values} for a, b, values in graph.edges(data=True)],
        "groups": [
            {
                **_group(group, named.get(group.index, "")),
                "after": kept,
                "ties": [_tie(tie) for tie in ties.get(group.index, ())],
            }
            for group, kept in zip(groups, flow.kept(), strict=True)
        ],
    }


def _tie(tie: Any) -> dict[str, Any]:
    return {"op": tie.op, "path": tie.path, "line": tie.line, "layers": list(tie.layers)}


def _group(group: Group, letter: str) -> dict[str, Any]:
    return {
        "index": group.index,
        "letter": letter,
        "name": group.name,
        "kind": group.kind,
        "width": group.width,
        "reason": group.reason,
        "members": [{"tensor": m.tensor, "dim": m.dim, "role": m.role} for m in group.members],
    }


def to_graphml(groups: Groups, plan: Plan | None = None) -> str:
    """The constraint graph as GraphML, for Gephi, yEd, Cytoscape."""
    graph = constraint_graph(groups, plan)
    for _, values in graph.nodes(data=True):
        values.update({key: UNSEEN.sub("�", value) for key, value in values.items() if isinstance(value, str)})
    out = io.BytesIO()
    nx.write_graphml(graph, out, named_key_ids=True)
    return out.getvalue().decode("utf-8") + "\n"


def to_dot(groups: Groups, plan: Plan | None = None) -> str:
    """The constraint graph in Graphviz's language; constrained groups are filled, protected ones dashed."""
    graph = constraint_graph(groups, plan)
    order = {index: k for k, index in enumerate(letters(groups))}
    lines = ["digraph fxprune {", '  node [shape=box, style=rounded, fontname="monospace"]']
    for name, values in graph.nodes(data=True):
        lines.append(f"  {_quoted(name)} [{_dot_node(values, order)}]")
    for a, b, values in graph.edges(data=True):
        lines.append(f"  {_quoted(a)} -> {_quoted(b)}" + (" [penwidth=3]" if values["residual"] else ""))
    return "\n".join([*lines, "}", ""])


def _dot_node(values: dict[str, Any], order: dict[int, int]) -> str:
    label = values["path"] if values["kind"] == "layer" else values["what"]
    if values["kind"] == "layer":
        label += f"\n{values['what']}  {values['width_in']} → {values['width_out']}"
    made = [int(k) for k in values["groups_out"].split(",") if k and int(k) in order]
    parts = [f"label={_quoted(label)}"]
    if made and (values["kind"] == "layer" or values["what"]):
        parts.append(f'style="rounded,filled", fillcolor="{GROUPS[order[made[0]] % len(GROUPS)]}55"')
    if values["group_kind"] == "protected":
        parts.append(f'style="rounded,dashed", tooltip={_quoted(values["reason"])}')
    if values["kind"] != "layer":
        parts.append("shape=ellipse")
    return ", ".join(parts)


def _quoted(text: str) -> str:
    return json.dumps(UNSEEN.sub("�", text), ensure_ascii=False)
