"""Images measured → a bar on a terminal while it goes on; a line on stderr for each network that is through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from fxprune.train.evaluate import ImageScore
from fxprune.view.terminal import show

__all__ = ["Meter"]


class Meter:
    """Shows how far it is.

    Args:
        networks: their names.
        images: how many each is measured on.
    """

    def __init__(self, networks: Sequence[str], images: int) -> None:
        self.console = Console(stderr=True, highlight=False, markup=False)
        self.width = max(8, *map(len, networks))
        self.bar: Progress | None = None
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self.task = self.bar.add_task("", total=len(networks) * images)

    def __enter__(self) -> Meter:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()

    def progress(self, name: str) -> Callable[[str, ImageScore], None]:
        """What `evaluate` is to call for each image."""

        def measured(set_name: str, image: ImageScore) -> None:
            if self.bar is not None:
                said = f"{name} on {set_name}/{image.name}: {image.scores[0].psnr:.2f} dB"
                self.bar.update(self.task, advance=1, description=said)

        return measured

    def over(self, name: str, seconds: float) -> None:
        """Say that a network is through."""
        line = f"{name:<{self.width}} {seconds:6.2f} s"
        if self.bar is not None:
            self.bar.console.print(Text(line, "dim"))
        else:
            show(line, error=True)
