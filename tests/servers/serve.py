"""Serves a tiny model in an engine's shapes until it is interrupted.

``python tests/servers/serve.py vllm --port 8000 --set serves=reranker --set template=none``
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from servers.engines import ENGINES  # noqa: E402 - found through the line above
from servers.fault_server import FaultServer  # noqa: E402 - the same


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a tiny model in an engine's shapes.")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of servers.setup.Setup: serves=reranker, pooling=mean, end=false, …",
    )
    chosen = parser.parse_args()
    options = dict(each.split("=", maxsplit=1) for each in chosen.set)
    server = FaultServer(
        chosen.engine, port=chosen.port, **{name: _value(text) for name, text in options.items()}
    )
    with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
