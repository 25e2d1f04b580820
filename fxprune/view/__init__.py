"""Any value → text, JSON and pictures."""

from __future__ import annotations

from fxprune.view.report import GroupRow, Report, make_report

__all__ = ["GroupRow", "Report", "make_report"]
