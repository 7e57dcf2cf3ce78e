"""The commands of ``qwen-retrieval``, put together."""

from __future__ import annotations

import typer

from qwen_retrieval.cli.compare import command as compare
from qwen_retrieval.cli.doctor import doctor
from qwen_retrieval.cli.evaluate import command as evaluate
from qwen_retrieval.cli.instructions import instructions

app = typer.Typer(
    name="qwen-retrieval",
    help="Qwen3 embedding and reranking: right by default, and shown to be.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with the values of all variables could show a key.
    pretty_exceptions_show_locals=False,
)


@app.callback()
def qwen_retrieval() -> None:
    """Qwen3 embedding and reranking: right by default, and shown to be."""


app.command()(doctor)
app.command()(instructions)
app.command(name="evaluate")(evaluate)
app.command(name="compare")(compare)
