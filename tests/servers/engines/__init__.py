"""One small module an engine: its requests, answers, errors and probes, from recorded facts."""

from __future__ import annotations

from .base import Engine, Refusal, Reply
from .dashscope import DashScope
from .generic import Jina, OpenAI
from .infinity import Infinity
from .llama_cpp import LlamaCpp
from .ollama import Ollama
from .sglang import SGLang
from .tei import TEI
from .vllm import VLLM

ENGINES: dict[str, type[Engine]] = {
    each.name: each
    for each in (VLLM, TEI, LlamaCpp, SGLang, Ollama, Infinity, DashScope, OpenAI, Jina)
}

__all__ = ["ENGINES", "Engine", "Refusal", "Reply"]
