"""A model reference goes in, an `nn.Module` in its own mode and an example input for it come out."""

from __future__ import annotations

from fxprune.models.example import check_example, example_for
from fxprune.models.load import Loaded, load_model

__all__ = ["Loaded", "check_example", "example_for", "load_model"]
