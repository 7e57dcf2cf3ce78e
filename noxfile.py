"""What this repository can do, each in one command: ``python -m nox -s demo`` and so on.

`tests` is all that has to pass; it runs the sessions it requires first. The sessions without an
environment of their own share that of the session `environment`, so torch is installed once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.10"
nox.options.sessions = ["tests"]
# pip finds a wheel of torch that lies on this machine, where uv would look at the index only.
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
FRAMEWORKS = {
    "langchain": "langchain-core==1.7.0",
    "llama-index": "llama-index-core==0.14.6",
    "haystack": "haystack-ai==3.0.0",
}
"""Each framework's extra, and the lowest version that pyproject.toml allows."""

# Compiling all of torch and transformers takes longer than compiling what is imported, when it is;
# that is then kept.
INSTALL = ("--no-compile", "--constraint", "constraints.txt")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@nox.session(reuse_venv=True)
def environment(session: nox.Session) -> None:
    """Install what the sessions without an environment of their own need."""
    session.install(*INSTALL, *groups("dev"), "--editable", ".[all]")


@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """Ask the three frameworks one question, compare their answers, and print nDCG@10.

    Options go through: ``python -m nox -s demo -- --question "…" --folder ~/notes``.
    """
    session.install(*INSTALL, *groups("demo"), "--editable", f".[{','.join(FRAMEWORKS)}]")
    session.run("python", "docs/examples/run_all.py", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def lint(session: nox.Session) -> None:
    """Check style, format, and which module may import which."""
    in_environment(session, "ruff", "check", ".")
    in_environment(session, "ruff", "format", "--check", ".")
    in_environment(session, "lint-imports")


@nox.session(venv_backend="none", requires=["environment"])
def typing(session: nox.Session) -> None:
    """Check types, strictly."""
    in_environment(session, "mypy")


@nox.session(venv_backend="none", requires=["environment"])
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build; a warning is an error."""
    in_environment(
        session, "sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env",
        "docs", "docs/_build/html",
    )  # fmt: skip


@nox.session
def build(session: nox.Session) -> None:
    """Build the source distribution and, from it, the wheel."""
    session.install(*groups("build"))
    for old in Path("dist").glob("qwen_retrieval-*"):
        old.unlink()
    session.run("python", "-m", "build", "--no-isolation", "--outdir", "dist")


@nox.session(requires=["build"])
@nox.parametrize("framework", list(FRAMEWORKS))
def contract(session: nox.Session, framework: str) -> None:
    """Install the wheel with one extra and try it with its newest, then its lowest framework."""
    (wheel,) = Path("dist").glob("qwen_retrieval-*.whl")
    session.install(*INSTALL, f"{wheel}[{framework}]")
    session.run("python", "-m", "pip", "check")
    # Before anything for the tests is there: what a user has who installed this extra only.
    session.run("python", "tests/packaging/one_extra.py", framework)
    session.install(*INSTALL, *groups("test", f"test-{framework}"))
    check_contract(session, framework)
    session.install(*INSTALL, *groups("test", f"test-{framework}"), FRAMEWORKS[framework])
    session.run("python", "-m", "pip", "check")
    check_contract(session, framework)


# `contract` is left to a session of its own: its six installations take longer than all the rest.
@nox.session(venv_backend="none", requires=["lint", "typing", "docs", "environment"])
def tests(session: nox.Session) -> None:
    """Check style, types and documentation by the sessions it requires, then run every test."""
    in_environment(session, "pytest", *session.posargs, env={"QWEN_RETRIEVAL_REQUIRE": "all"})


@nox.session(venv_backend="none", requires=["environment"])
def bench(session: nox.Session) -> None:
    """Measure the library beside its peers; it takes long, and goes on where it was broken off.

    ``python -m nox -s bench -- scaling`` plots what candidates cost; ``-- latency`` prints how long
    a query waits beside threads that embed. ``-- quality`` prints what the tiny models are worth on
    every collection of ``$QWEN_RETRIEVAL_MATERIAL``; ``-- scale`` what evaluating takes as the
    corpus grows.
    """
    in_environment(session, "python", "-m", "pip", "install", "--quiet", *INSTALL, *groups("bench"))
    known = {"bench", "scaling", "latency", "quality", "scale"}
    chosen, options = "bench", session.posargs
    if options and options[0] in known:
        chosen, *options = options
    in_environment(session, "python", f"tests/benchmarks/{chosen}.py", *options)


@nox.session(venv_backend="none", requires=["environment"])
def mteb(session: nox.Session) -> None:
    """Hand an embedder and a reranker to the mteb library, and compare its figures with ours."""
    in_environment(session, "python", "-m", "pip", "install", "--quiet", *INSTALL, *groups("mteb"))
    in_environment(session, "pytest", "tests/with_mteb", *session.posargs)


@nox.session(venv_backend="none", requires=["environment"])
def models(session: nox.Session) -> None:
    """Compare the released models with published numbers; QWEN_RETRIEVAL_MODELS names a folder."""
    if "QWEN_RETRIEVAL_MODELS" not in os.environ:
        session.error("set QWEN_RETRIEVAL_MODELS to a folder that holds the released models.")
    in_environment(session, "pytest", "-m", "model", *session.posargs)


def groups(*names: str) -> tuple[str, ...]:
    """Return the requirements of these dependency groups in pyproject.toml."""
    return nox.project.dependency_groups(PYPROJECT, *names)


def in_environment(
    session: nox.Session, program: str, *args: str, env: dict[str, str | None] | None = None
) -> None:
    """Run a program that the session `environment` installed."""
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    path = Path(session.cache_dir).parent / "environment" / scripts / program
    session.run(str(path), *args, external=True, env=env)


def check_contract(session: nox.Session, framework: str) -> None:
    """Run the framework's part of the contract, and its own tests, against the installed wheel."""
    name = framework.replace("-", "_")
    session.run(
        "python", "-m", "pytest", "tests/contract", f"tests/integrations/{name}", "-k", name,
        env={"QWEN_RETRIEVAL_REQUIRE": framework},
    )  # fmt: skip
