"""The command line: arguments in, words on the screen and an exit code out. The only place that prints or exits."""

from __future__ import annotations

from fxprune.cli.check import check
from fxprune.cli.compile import compile_
from fxprune.cli.entry import front, main
from fxprune.cli.eval import eval_
from fxprune.cli.fmt import fmt
from fxprune.cli.groups import groups
from fxprune.cli.zoo import zoo

__all__ = ["front", "main"]

for _command in (check, compile_, eval_, fmt, groups, zoo):
    front.add_command(_command)
