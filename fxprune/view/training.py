"""An event of a training run → a line of text, or none if it is not worth one."""

from __future__ import annotations

from fxprune.train.events import Event

__all__ = ["line"]


def line(event: Event) -> str | None:
    """What a log shows of an event: the step, the phase, what was measured."""
    data = event.data
    match event.kind:
        case "start":
            told = f"{data['steps']:,} steps" + (", resumed" if data.get("resumed") else "")
        case "phase":
            told = f"{data['length']:,} steps" if data.get("length") else "begins"
        case "step":
            told = ", ".join(
                f"{name} {_number(value)}" for name, value in data.items() if isinstance(value, (int, float))
            )
        case "validate":
            told = f"PSNR-Y {data['psnr']:.2f} dB" if data.get("psnr") is not None else "validated"
        case "cut":
            told = f"{data['params']:,} parameters left"
        case "note":
            told = str(data["text"])
        case "checkpoint" | "save" | "finish":
            return None
    return f"{event.step:>9,}  {event.phase:<9} {told}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
