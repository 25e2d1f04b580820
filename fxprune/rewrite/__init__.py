"""`Groups` + removed units → a compact graph, verified against the masked original."""

from __future__ import annotations

from fxprune.rewrite.mends import can_mend
from fxprune.rewrite.rewrite import Rewritten, rewrite
from fxprune.rewrite.slicing import Kept, Slicer
from fxprune.rewrite.verify import TOLERANCE, Check, Verified, relative, verify

__all__ = ["TOLERANCE", "Check", "Kept", "Rewritten", "Slicer", "Verified", "can_mend", "relative", "rewrite", "verify"]
