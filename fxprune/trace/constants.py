"""A graph just traced → the same with constants that no run of it changes for the next."""

from __future__ import annotations

from torch import fx

from fxprune.trace.traced import has_effects

__all__ = ["anew"]


def anew(graph: fx.GraphModule) -> fx.GraphModule:
    """The graph, in which a constant that is written to is made anew for each run.

    What a forward makes without its inputs (`torch.Tensor(np.meshgrid(…))`) is a constant of the graph; the model
    itself makes it each time, and may write to it.
    """
    layers, written = dict(graph.named_modules()), set[str]()
    for node in graph.graph.nodes:
        if node.op in ("placeholder", "output") or not has_effects(node, layers.get(str(node.target))):
            continue
        while node.all_input_nodes:  # what it may be a view of
            node = node.all_input_nodes[0]
        if node.op == "get_attr" and str(node.target).startswith("_tensor_constant"):
            written.add(str(node.target))
    made: dict[str, fx.Node] = {}
    for node in list(graph.graph.nodes):
        if node.op != "get_attr" or node.target not in written:
            continue
        if node.target not in made:
            with graph.graph.inserting_after(node):
                made[node.target] = graph.graph.call_method("clone", (node,))
        own = made[node.target]
        node.replace_all_uses_with(own, lambda user, own=own: user is not own)
    if written:
        graph.recompile()
    return graph
