"""The tokenizer of the model that a server has: read from its one file, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_retrieval.catalog import RELEASED
from qwen_retrieval.errors import ModelFilesError, ModelNotFoundError, WrongModelError
from qwen_retrieval.files import Files, load_json, locate
from qwen_retrieval.tokens import plain_encoder, plain_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from qwen_retrieval.prompts import Encode
    from qwen_retrieval.settings import ModelSettings

SMALL_FILES = ("*.json", "*.txt")
"""What is downloaded of a ModelScope model."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What is known on this side of the model that a server has.

    Attributes:
        name: as the settings name it.
        tokenizer: with its control tokens.
        plain: the one without, for text.
        encode: `plain`, text by text.
        control: its control tokens.
        config: config.json, empty where there is none.
        prompts: saved beside the model.
        is_embedder: what its modules say; without any, its tokenizer.
    """

    name: str
    tokenizer: Tokenizer
    plain: Tokenizer
    encode: Encode
    control: tuple[str, ...]
    config: dict[str, Any]
    prompts: dict[str, str | None]
    is_embedder: bool

    @property
    def context(self) -> int | None:
        """Tokens a sequence may have."""
        released = RELEASED.get(self.name)
        return self.config.get("max_position_embeddings") if released is None else released.context

    @property
    def width(self) -> int | None:
        """Of the vectors in full."""
        released = RELEASED.get(self.name)
        return self.config.get("hidden_size") if released is None else released.width

    def normalized(self, text: str) -> str:
        """Return the text as the tokenizer sees it, for servers that do without that step.

        Qwen3's composes characters (Unicode's NFC); llama.cpp's tokenizer does not.
        """
        normalizer = self.tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))


def read_model(settings: ModelSettings) -> ServedModel:
    """Return what the small files of the served model say.

    Raises:
        ModelNotFoundError: its tokenizer cannot be had.
        ModelFilesError: its tokenizer is missing or corrupt.
        WrongModelError: it is no Qwen3 model.
    """
    # The key is the server's and not the hub's, which finds its own in its usual places.
    try:
        path = locate(settings, None, SMALL_FILES)
        files = Files(path, settings.revision, settings.local_files_only, None)
        found = files.path("tokenizer.json")
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"{error} The server {settings.server!r} computes, but prompts are made here and need"
            f" the tokenizer of {settings.model}: a folder with its tokenizer.json and config.json"
            " is enough as model=."
        ) from error
    if found is None:
        raise ModelFilesError(
            f"{settings.model} has no tokenizer.json, with which prompts are made for the server;"
            " copy the model's own there."
        )
    config = files.json("config.json") or {}
    if config.get("model_type", "qwen3") != "qwen3":
        raise WrongModelError(
            f"{settings.model} is a {config['model_type']} model, and only Qwen3 models are used"
            " through a server; other ones run in this process, or through their server's own"
            " client."
        )
    saved = files.json("config_sentence_transformers.json") or {}
    state = found.stat()
    tokenizer, plain, encode = _encoders(found, state.st_mtime_ns, state.st_size)
    return ServedModel(
        name=settings.model,
        tokenizer=tokenizer,
        plain=plain,
        encode=encode,
        control=tuple(token.content for token in tokenizer.get_added_tokens_decoder().values()),
        config=config,
        prompts=saved.get("prompts") or {},
        is_embedder=_is_embedder(settings.model, files.json("modules.json"), tokenizer),
    )


@lru_cache(maxsize=4)
def _encoders(path: Path, *state: int) -> tuple[Tokenizer, Tokenizer, Encode]:  # noqa: ARG001
    """Return the tokenizer, the plain one and its encoder, kept while the file's state is this."""
    tokenizer = _tokenizer(path)
    return tokenizer, plain_tokenizer(tokenizer), plain_encoder(tokenizer)


def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer  # noqa: PLC0415 - loaded at the first call

    load_json(path)  # names the file if it is corrupt
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain exceptions
        raise ModelFilesError(
            f"{path} is no tokenizer that can be read ({error!s:.200}); download it again."
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _is_embedder(name: str, modules: object, tokenizer: Tokenizer) -> bool:
    released = RELEASED.get(name)
    if released is not None:
        return released.kind == "embedder"
    if isinstance(modules, list):
        return any(str(module.get("type", "")).endswith("Pooling") for module in modules)
    # An embedder's tokenizer closes each text by itself; a reranker's adds nothing.
    return bool(tokenizer.encode("").ids)
