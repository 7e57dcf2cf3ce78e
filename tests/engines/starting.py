"""Real engines as processes: their command lines, and a server from its start to its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TINY = Path(__file__).resolve().parents[1] / "tiny"
TEMPLATE = Path(__file__).resolve().parents[2] / "core/qwen_retrieval/doctor/qwen3_reranker.jinja"
CONTEXT = 2048
"""Tokens of a sequence that the servers take."""

AS_RERANKER = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started.

    Attributes:
        command: without host and port.
        port_option: by which it is told its port.
        environment: beside the tests' own.
        health: its path that answers 200 when it is ready.
        seconds: to wait for that.
    """

    command: Sequence[str]
    port_option: str = "--port"
    environment: Mapping[str, str] = field(default_factory=dict)
    health: str = "/health"
    seconds: float = 900


def vllm(
    kind: str,
    *options: str,
    model: Path | None = None,
    matryoshka: bool = True,
    template: bool = True,
) -> Launch:
    """Return vLLM's command line for the tiny model of this kind, or for another one."""
    overrides = AS_RERANKER if kind == "reranker" else {"is_matryoshka": matryoshka}
    rendering = ["--chat-template", str(TEMPLATE)] if kind == "reranker" and template else []
    return Launch(
        [
            os.environ["QWEN_RETRIEVAL_ENGINE_PYTHON"],
            "-m", "vllm.entrypoints.openai.api_server",
            "--model", str(model or TINY / kind),
            "--runner", "pooling",
            "--hf-overrides", json.dumps(overrides),
            "--dtype", "float32",
            "--max-model-len", str(CONTEXT),
            "--max-num-seqs", "16",
            "--enforce-eager",
            *rendering,
            *options,
        ],
        environment={"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
    )  # fmt: skip


def infinity(kind: str, *options: str) -> Launch:
    """Return Infinity's command line for the tiny model of this kind."""
    python = Path(os.environ["QWEN_RETRIEVAL_ENGINE_PYTHON"])
    return Launch(
        [
            str(python.with_name("infinity_emb")), "v2",
            "--model-id", str(TINY / kind),
            "--engine", "torch", "--device", "cpu", "--dtype", "float32",
            "--no-bettertransformer",
            *options,
        ],
        environment={"INFINITY_ANONYMOUS_USAGE_STATS": "0"},
    )  # fmt: skip


def llama_cpp(kind: str, *options: str, model: Path | None = None) -> Launch:
    """Return llama-server's command line for the converted tiny model of this kind, or another."""
    folder = Path(os.environ["QWEN_RETRIEVAL_ENGINE_FOLDER"])
    serving = ["--embedding"] if kind == "embedder" else ["--reranking"]
    return Launch(
        [
            str(folder / "llama-server"),
            "-m", str(model or folder / f"{kind}.gguf"),
            *serving,
            # Each of the slots gets its part of the context, and a batch has to hold a sequence.
            "-c", str(CONTEXT + 256), "-b", str(CONTEXT + 256), "-ub", str(CONTEXT + 256),
            "--parallel", "1",
            # Keys and values are kept in float16 by default, which costs up to 5e-4 of a score.
            "-ctk", "f32", "-ctv", "f32", "-fa", "off",
            *options,
        ]
    )  # fmt: skip


LAUNCHES: Mapping[str, Callable[..., Launch]] = {
    "vllm": vllm,
    "infinity": infinity,
    "llama_cpp": llama_cpp,
}


@contextmanager
def running(launch: Launch, log: Path) -> Iterator[str]:
    """Run a server until the block ends; give its address once it is ready.

    Raises:
        RuntimeError: it ends, or is not ready in time; with the end of its log.
    """
    port = _free_port()
    command = [*launch.command, "--host", "127.0.0.1", launch.port_option, str(port)]
    environment = {
        **os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", **launch.environment
    }  # fmt: skip
    # Of our own environment, which is not the engine's.
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=log.parent,
            start_new_session=True,
        )  # fmt: skip
        try:
            began = time.monotonic()
            _wait(process, url + launch.health, launch.seconds, log)
            sys.stdout.write(
                f"{Path(command[0]).name} ready after {time.monotonic() - began:.0f} s\n"
            )
            yield url
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], health: str, seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(health, timeout=5):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.25)
    words = log.read_text(errors="replace")[-4000:]
    raise RuntimeError(f"no server within {seconds} s (exit status {process.poll()}):\n{words}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server with its workers, which are its process group."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
    except ProcessLookupError:
        process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
