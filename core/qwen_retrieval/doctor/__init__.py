"""The doctor: examines a running server, or a model in this process, and names what mends it."""

from __future__ import annotations

from qwen_retrieval.doctor.examine import examine
from qwen_retrieval.doctor.report import Finding, Report

__all__ = ["Finding", "Report", "examine"]
