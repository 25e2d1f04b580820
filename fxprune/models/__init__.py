"""A model reference goes in, an `nn.Module` in its own mode and an example input for it come out."""

from __future__ import annotations

from fxprune.models.example import check_example, example_for, initialise
from fxprune.models.inputs import inputs_of
from fxprune.models.load import Loaded, load_model
from fxprune.models.position import by_position

__all__ = ["Loaded", "by_position", "check_example", "example_for", "initialise", "inputs_of", "load_model"]
