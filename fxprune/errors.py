"""Every mistake a user can make, as one tree of exceptions.

```
FxpruneError
├── SpecError          what stands in a .prune file, with file:line:col and carets
├── ModelError         a model reference, its constructor, its weights
│   └── TraceError     a model that could not be traced, with the line that stopped it
├── InputError         an example input, a shape, an option's value
├── PlanError          a plan that cannot be made: nothing selected, a budget out of reach
├── RewriteError       the rewritten graph broke its promise
│   └── VerifyError    masked and compact differ, with the first node where they do
├── OutputError        a folder or file that cannot be written or read back
├── TrainError         training that cannot go on; it stands in fxprune.train.events
└── StoppedError       training that was asked to stop, with nothing lost; it stands there too
```

`Diagnostic` is one finding: what was wrong, where, a hint. An error carries one or several; `str(error)` is the
text shown to the user, without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fxprune.source import Span, render

__all__ = [
    "Diagnostic",
    "FxpruneError",
    "InputError",
    "ModelError",
    "OutputError",
    "PlanError",
    "RewriteError",
    "SpecError",
    "TraceError",
    "VerifyError",
]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding."""

    message: str  # what was wrong, one line, no full stop
    span: Span | None = None  # where in a spec, when it is about a spec
    hint: str | None = None  # what to do instead

    def __str__(self) -> str:
        return render(self.message, self.span, self.hint)


class FxpruneError(Exception):
    """Base of every error a user can cause.

    Args:
        message: what was wrong, in one line; or several diagnostics, reported together.
        hint: what to do about it.
        span: where in a spec, if the mistake stands in one.
    """

    diagnostics: tuple[Diagnostic, ...]
    stopped = False  # it is no mistake: the user asked to stop, and nothing is lost

    def __init__(
        self,
        message: str | Iterable[Diagnostic],
        *,
        hint: str | None = None,
        span: Span | None = None,
    ) -> None:
        if isinstance(message, str):
            self.diagnostics = (Diagnostic(message, span, hint),)
        else:
            self.diagnostics = tuple(message)
        super().__init__(self.text(self.diagnostics))

    @staticmethod
    def text(diagnostics: Sequence[Diagnostic]) -> str:
        """The diagnostics as shown to a user, in source order, a blank line between."""
        ordered = sorted(diagnostics, key=lambda d: (d.span.source.name, d.span.start) if d.span else ("", -1))
        return "\n\n".join(str(d) for d in ordered)


class SpecError(FxpruneError):
    """A mistake in a `.prune` file."""


class ModelError(FxpruneError):
    """A model reference that does not give a usable module."""


class TraceError(ModelError):
    """A model that could not be traced."""


class InputError(FxpruneError):
    """An example input, shape, device or option value that does not fit."""


class PlanError(FxpruneError):
    """A plan that cannot be made."""


class RewriteError(FxpruneError):
    """The rewritten graph broke a promise; nothing was emitted.

    Args:
        node: name of the node of the traced graph at which it did, if known.
    """

    def __init__(self, message: str, *, hint: str | None = None, node: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.node = node


class VerifyError(RewriteError):
    """The compact model differs from the masked original."""


class OutputError(FxpruneError):
    """An output folder or file that cannot be written or read back."""
