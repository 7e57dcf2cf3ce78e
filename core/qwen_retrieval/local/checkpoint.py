"""What a checkpoint is, read from its small files before any weight is loaded."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_retrieval.catalog import RELEASED
from qwen_retrieval.errors import ModelFilesError, WrongModelError
from qwen_retrieval.files import Files, load_json, locate

if TYPE_CHECKING:
    from qwen_retrieval.settings import ModelSettings

_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the small files of a checkpoint say.

    Attributes:
        name: as the user gave it, for messages.
        path: what sentence-transformers is to load: a folder, or a hub id.
        config: config.json.
        modules: class names of modules.json, in order; empty where there is no such file.
        adapter: folder or id of a LoRA adapter whose base `path` is.
        base: folder or id of the base model, where `path` itself is an adapter that
            sentence-transformers saved with its modules.
    """

    name: str
    path: str
    config: dict[str, Any] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    adapter: str | None = None
    base: str | None = None

    @property
    def is_qwen3(self) -> bool:
        """Whether the backbone is Qwen3."""
        return self.config.get("model_type") == "qwen3"

    @property
    def architecture(self) -> str:
        """The class that config.json names."""
        return str((self.config.get("architectures") or ["unknown"])[0])


def read_checkpoint(settings: ModelSettings, token: str | None) -> Checkpoint:
    """Return what the small files say, after checking that they are there.

    Raises:
        ModelNotFoundError: no such folder or repository, or out of reach.
        ModelFilesError: a file is missing, truncated or corrupt.
    """
    path = locate(settings, token)
    files = Files(path, settings.revision, settings.local_files_only, token)
    adapter = files.json("adapter_config.json")
    modules = tuple(str(m["type"]).rsplit(".", 1)[-1] for m in files.json("modules.json") or [])
    config = files.json("config.json")
    if adapter is not None:
        base = str(adapter.get("base_model_name_or_path") or "")
        if not base:
            raise ModelFilesError(
                f"{path} is a LoRA folder that names no base model; add base_model_name_or_path to"
                " its adapter_config.json."
            )
        below = Files(base, None, settings.local_files_only, token)
        config = below.json("config.json") or {}
        if modules:
            return Checkpoint(settings.model, path, config, modules, base=base)
        modules = tuple(str(m["type"]).rsplit(".", 1)[-1] for m in below.json("modules.json") or [])
        return Checkpoint(settings.model, base, config, modules, adapter=path)
    if config is None and not modules:
        raise ModelFilesError(
            f"{path} has no config.json, so it is no model; give the folder that holds"
            " config.json, or a hub id."
        )
    if Path(path).is_dir() and config is not None:
        check_folder(Path(path), safetensors_only=settings.safetensors_only)
    return Checkpoint(settings.model, path, config or {}, modules)


def require_embedder(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that is no embedding model, by name."""
    name = checkpoint.name
    released = RELEASED.get(name)
    if released is not None and released.kind == "reranker":
        raise WrongModelError(f"{name} is a reranker; open it with RerankerSettings.")
    if "LogitScore" in checkpoint.modules or checkpoint.architecture.endswith(
        "ForSequenceClassification"
    ):
        raise WrongModelError(
            f"{name} is a reranker ({checkpoint.architecture}); open it with RerankerSettings."
        )
    if checkpoint.is_qwen3 and not checkpoint.modules:
        raise WrongModelError(
            f"{name} has no modules.json, so nothing says how to pool its tokens: it is a Qwen3"
            " reranker or language model. Give an embedding model, or add modules.json and"
            " 1_Pooling/config.json of Qwen/Qwen3-Embedding-0.6B to the folder."
        )


def require_reranker(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that is no Qwen3 reranker, by name."""
    name, architecture = checkpoint.name, checkpoint.architecture
    if "Pooling" in checkpoint.modules:
        raise WrongModelError(f"{name} is an embedding model; open it with EmbedderSettings.")
    if not checkpoint.is_qwen3:
        raise WrongModelError(
            f"{name} is a {architecture} ({checkpoint.config.get('model_type')}), and only Qwen3"
            " rerankers are scored with the Qwen3 prompt; use sentence-transformers' CrossEncoder"
            " for other ones."
        )
    if not architecture.endswith(("ForCausalLM", "ForSequenceClassification")):
        raise WrongModelError(
            f"{name} is a {architecture}; a Qwen3 reranker is a Qwen3ForCausalLM or a"
            " Qwen3ForSequenceClassification with one class."
        )
    labels = _labels(checkpoint.config)
    if architecture.endswith("ForSequenceClassification") and labels != 1:
        raise WrongModelError(
            f"{name} has {labels} classes; a converted Qwen3 reranker has one, yes − no."
        )


def check_folder(folder: Path, *, safetensors_only: bool) -> None:
    """Raise `ModelFilesError` where a folder lacks its tokenizer or has incomplete weights."""
    if not any((folder / name).exists() for name in _TOKENIZERS):
        raise ModelFilesError(
            f"{folder} has no tokenizer ({', '.join(_TOKENIZERS[:3])}, …); copy the model's"
            " tokenizer files there."
        )
    weights = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.exists():
        shards = set(load_json(index).get("weight_map", {}).values())
        missing = sorted(shards - {path.name for path in weights})
        if missing:
            raise ModelFilesError(f"{folder} lacks {missing} that its index names; download again.")
    if not weights and not any(folder.glob("*/*.safetensors")):
        pickled = [path.name for path in folder.glob("*.bin")]
        if safetensors_only or not pickled:
            remedy = (
                f"only pickled weights ({pickled[0]}), which can run code when loaded; convert them"
                " to safetensors, or set safetensors_only=False if you trust the source"
                if pickled
                else "no weights (model.safetensors); download the model again"
            )
            raise ModelFilesError(f"{folder} has {remedy}.")
    for path in weights:
        tensor_names(path)


def tensor_names(path: Path) -> list[str]:
    """Return the names of the tensors in a safetensors file, after checking its length."""
    return list(_header(path))


def stored_dtypes(path: str, settings: ModelSettings, token: str | None) -> set[str]:
    """Return the dtypes of a checkpoint's weights, such as "BF16"; none where they are not known.

    Of a model that is still to be downloaded the hub is asked for the headers of its files.
    """
    files = list(weight_files(path, settings.revision))
    if files or settings.local_files_only or Path(path).is_dir():
        return {str(tensor["dtype"]) for each in files for tensor in _header(each).values()}
    from huggingface_hub import get_safetensors_metadata  # noqa: PLC0415 - only for hub models

    with suppress(Exception):  # loading, which comes next, says what is wrong
        return set(get_safetensors_metadata(path, revision=settings.revision, token=token)
                   .parameter_count)  # fmt: skip
    return set()


def _header(path: Path) -> dict[str, Any]:
    """Return what a safetensors file says of its tensors, after checking the file's length.

    Format: 8 bytes length n, n bytes JSON header, then the data, whose end the header names.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1  # noqa: PLR2004
        try:
            header = json.loads(file.read(length)) if 0 <= length <= size else None
        except ValueError:
            header = None
    if header is None:
        raise ModelFilesError(f"{path} is no safetensors file or is corrupt; download it again.")
    header.pop("__metadata__", None)
    end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if size != end:
        raise ModelFilesError(
            f"{path} has {size} bytes where its header promises {end}: the download is incomplete;"
            " remove it and download again."
        )
    return dict(header)


def _labels(config: dict[str, Any]) -> int:
    labels = config.get("num_labels")
    return int(labels) if labels is not None else len(config.get("id2label") or {0: 0, 1: 1})


def weight_files(path: str, revision: str | None) -> Iterator[Path]:
    """Yield the safetensors files of a checkpoint that are on this disk by now.

    Raises:
        OSError: of a hub model, not even config.json is.
    """
    folder = Path(path)
    if not folder.is_dir():
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 - only for hub models

        # A whole snapshot would be called incomplete for want of weights that nobody asked for.
        config = hf_hub_download(path, "config.json", revision=revision, local_files_only=True)
        folder = Path(config).parent
    yield from sorted(folder.glob("*.safetensors"))
