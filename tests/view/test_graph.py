"""The contracted graph: what is kept, how wide it is, what it belongs to; and its export."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable

import networkx as nx
import pytest
import torch
from torch import nn

from fxprune import parse
from fxprune.groups import Groups
from fxprune.pipeline import analyze
from fxprune.plan import make_plan
from fxprune.view.constraint import constraint_graph, to_dot, to_graphml, to_json
from fxprune.view.contract import flow_of

Found = Callable[..., Groups]


def test_a_residual_block(found: Found) -> None:
    graph = constraint_graph(found("edsr", blocks=2, width=8))
    block = graph.nodes["body_1_conv2"]
    assert (block["path"], block["what"], block["kind"]) == ("body.1.conv2", "Conv2d 3×3", "layer")
    assert (block["width_in"], block["width_out"], block["group_kind"]) == (8, 8, "constrained")
    assert graph.edges["body_1_conv1", "body_1_conv2"] == {"residual": False, "tie": ""}
    assert graph.edges["body_1_conv2", "add_1"] == {"residual": False, "tie": "add"}
    assert graph.edges["add", "add_1"] == {"residual": True, "tie": "add"}
    assert not any("relu" in node for node in graph)


@pytest.mark.parametrize("name", ["edsr", "imdn", "carn", "fsrcnn", "rfdn", "latticenet"])
def test_every_member_of_a_group_is_at_a_layer(found: Found, name: str) -> None:
    groups = found(name)
    flow = flow_of(groups)
    for group in groups:
        held = {name for stop in flow if group.index in stop.groups for name in stop.tensors}
        assert {member.tensor for member in group.members} <= held


@pytest.mark.parametrize("name", ["edsr", "imdn", "carn", "rdn", "vdsr"])
def test_data_flows_from_input_to_output(found: Found, name: str) -> None:
    graph = constraint_graph(found(name))
    assert nx.is_directed_acyclic_graph(graph)
    ends = [n for n, kind in graph.nodes(data="kind") if kind == "output"]
    starts = [n for n, kind in graph.nodes(data="kind") if kind == "input"]
    assert set(nx.ancestors(graph, ends[0])) | set(ends) == set(graph)
    assert set(nx.descendants(graph, starts[0])) | set(starts) == set(graph)


def test_channels_of_a_split(found: Found) -> None:
    flow = flow_of(found("imdn", blocks=1))
    stop = next(stop for stop in flow if stop.path == "body.0.conv1")
    assert [portion.before for portion in stop.leaves] == [16, 48]
    assert len(set(stop.made)) == 2


class Written(nn.Module):
    """A layer of several ops, around a layer norm written by hand."""

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            centred = x - x.mean(1, keepdim=True)
            y: torch.Tensor = centred / (centred.pow(2).mean(1, keepdim=True) + 1e-6).sqrt() * self.weight
            return y

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.leave = nn.Conv2d(3, 6, 1), Written.Norm(), nn.Conv2d(6, 3, 1)
        self.bare = nn.Parameter(torch.rand(3, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.leave(self.norm(self.enter(x)))
        return nn.functional.conv2d(x, self.bare)


def test_a_layer_that_its_author_wrote_is_one_node() -> None:
    flow = flow_of(analyze(Written(), torch.rand(1, 3, 8, 8)))
    assert [(stop.path, stop.what) for stop in flow][1:-1] == [
        ("enter", "Conv2d 1×1"),
        ("norm", "Norm"),
        ("leave", "Conv2d 1×1"),
        ("bare", "Conv2d"),
    ]


def test_widths_after_a_plan(found: Found) -> None:
    groups = found("edsr", blocks=2, width=8)
    graph = constraint_graph(groups, make_plan(parse("cut filters 50%"), groups))
    assert graph.nodes["body_0_conv1"]["width_in_after"] == 4
    assert graph.nodes["body_0_conv1"]["width_out_after"] == 4
    assert graph.nodes["add_mean"]["width_out_after"] == 3


def test_exports_can_be_read_back(hostile: Groups) -> None:
    graph = constraint_graph(hostile)
    again = nx.read_graphml(io.StringIO(to_graphml(hostile)))
    assert set(again) == set(graph)
    assert {path for _, path in again.nodes(data="path")} == {path for _, path in graph.nodes(data="path")}
    assert ET.fromstring(to_graphml(hostile)) is not None
    plain = json.loads(json.dumps(to_json(hostile)))
    assert len(plain["edges"]) == graph.number_of_edges()
    members = {(m["tensor"], m["dim"]) for group in plain["groups"] for m in group["members"]}
    assert members == {(m.tensor, m.dim) for group in hostile for m in group.members}
    assert to_dot(hostile).count("->") == graph.number_of_edges()
