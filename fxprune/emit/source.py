"""A compact graph in, an ordinary `model.py` out that needs nothing but torch and safetensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count

import torch
from torch import fx

from fxprune.emit.helpers import helper_sources
from fxprune.emit.layout import SCOPE, constructor_lines, needs_scope
from fxprune.emit.naming import access, lines_of
from fxprune.emit.program import Path, Program, outs
from fxprune.emit.reading import read_graph
from fxprune.emit.rolling import collapse, roll
from fxprune.emit.tree import Aliases, build_tree, leaves_of, lists_of, same_tensors, tensors_of

__all__ = ["generate", "state"]


def generate(graph_module: fx.GraphModule, *, title: str, header: Iterable[str] = ()) -> str:
    """The source of a module that computes what `graph_module` computes, operation by operation.

    The file defines `class Model(nn.Module)` with the same names in its state dict, `build_model()` without weights,
    and `load(folder)` with the weights of `model.safetensors`.

    Args:
        graph_module: a graph over layers of torch.nn and functions of torch.
        title: first line of the file's docstring.
        header: more lines of the docstring.

    Raises:
        RewriteError: a layer, function or constant that cannot be written without the code it comes from.
    """
    tree = build_tree(graph_module)
    program, called = shortened(read_graph(graph_module), lists_of(tree))
    helpers = helper_sources(program.helpers)
    aliases = same_tensors(tensors_of(graph_module))
    forward = lines_of(program, {*helpers, "Scope", "Model", "Path", "load_file"})
    base = "Scope" if any(not name.isidentifier() for name in tree.members) else "nn.Module"
    body = [
        *([SCOPE] if needs_scope(tree) else []),
        *helpers.values(),
        model_class(constructor_lines(tree, called), frozen(graph_module), aliases, base, program, forward),
        BUILD,
        loader(aliases),
    ]
    code = "\n\n\n".join(body) + "\n"
    return f"{docstring(title, header)}\n\n{imports(code)}\n\n\n{code}"


def state(graph_module: fx.GraphModule) -> dict[str, torch.Tensor]:
    """The tensors to be saved, by name, each once: a tensor with two names goes by the first."""
    tensors = tensors_of(graph_module)
    aliases = same_tensors(tensors)
    return {name: tensor.detach() for name, tensor in tensors.items() if name not in aliases}


def shortened(program: Program, lists: Mapping[Path, int]) -> tuple[Program, frozenset[Path]]:
    """The forward pass with chains and repeated blocks written once, and the lists that it calls as a whole."""
    nodes, called = collapse(program.nodes, lists)
    known = [value for value, _ in program.inputs] + [value for node in program.nodes for value in outs(node)]
    numbers = count(1 + max(known, default=0))
    return replace(program, nodes=roll(nodes, lists, numbers)), called


def model_class(
    members: list[str], more: list[str], aliases: Aliases, base: str, program: Program, forward: list[str]
) -> str:
    """The class: a constructor that makes the members, and the forward pass."""
    built = ["super().__init__()", *members, *more, *(["self.tie()"] if aliases else [])]
    arguments = f"self, {program.signature}" if program.signature else "self"
    return "\n".join(
        [
            f"class Model({base}):",
            "    def __init__(self):",
            *indented(built),
            "",
            *tie(aliases),
            f"    def forward({arguments}):",
            *indented(forward),
        ]
    )


def indented(lines: Iterable[str]) -> list[str]:
    return ["        " + line for line in lines]


def tie(aliases: Aliases) -> list[str]:
    """The method that makes tensors with two names one."""
    if not aliases:
        return []
    lines = [f"{dotted(name)} = {dotted(known)}" for name, known in aliases.items()]
    return ["    def tie(self):", '        """Share what is one tensor under two names."""', *indented(lines), ""]


def dotted(name: str) -> str:
    return access(tuple(name.split(".")), {})


def frozen(graph_module: fx.GraphModule) -> list[str]:
    """Lines that switch off the gradient of layers' parameters that do not learn."""
    lines = []
    for path, value in leaves_of(graph_module):
        if isinstance(value, torch.Tensor):
            continue
        parameters = list(value.named_parameters())
        fixed = [name for name, parameter in parameters if not parameter.requires_grad]
        if fixed and len(fixed) == len(parameters):
            lines.append(f"{dotted(path)}.requires_grad_(False)")
        else:
            lines += [f"{dotted(f'{path}.{name}')}.requires_grad_(False)" for name in fixed]
    return lines


def docstring(title: str, header: Iterable[str]) -> str:
    lines = [title, *(["", *header] if (header := list(header)) else [])]
    text = "\n".join(line.rstrip() for line in lines).replace("\\", "\\\\").replace('"""', r"\"\"\"")
    ends = "\n" if "\n" in text or text.endswith('"') else ""
    return f'"""{text}{ends}"""'


def imports(code: str) -> str:
    """Import what the code names."""
    standard = [f"import {name}" for name in ("math", "operator") if re.search(rf"\b{name}\.", code)]
    functional = ["import torch.nn.functional as F"] if re.search(r"\bF\.", code) else []
    return "\n".join(
        [
            "from __future__ import annotations",
            "",
            *standard,
            "from pathlib import Path",
            "",
            "import torch",
            *functional,
            "from safetensors.torch import load_file",
            "from torch import nn",
        ]
    )


BUILD = '''def build_model():
    """The network with weights not yet set."""
    return Model()'''


def loader(aliases: Aliases) -> str:
    """`load`, which gives tensors that have two names to both."""
    spread = [f'    tensors["{name}"] = tensors["{known}"]' for name, known in aliases.items()]
    return "\n".join(
        [
            'def load(folder=Path(__file__).parent, device="cpu"):',
            '    """The network with the weights that lie beside this file, ready to run."""',
            '    tensors = load_file(Path(folder) / "model.safetensors", device=str(device))',
            *spread,
            '    with torch.device("meta"):',
            "        model = build_model()",
            "    model.load_state_dict(tensors, assign=True)",
            *(["    model.tie()"] if aliases else []),
            "    return model.eval()",
        ]
    )
