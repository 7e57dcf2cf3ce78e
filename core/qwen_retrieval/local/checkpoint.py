"""What a checkpoint is, read from its small files before any weight is loaded."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qwen_retrieval.catalog import RELEASED
from qwen_retrieval.errors import ModelFilesError, ModelNotFoundError, WrongModelError

if TYPE_CHECKING:
    from qwen_retrieval.settings import ModelSettings

RerankerForm = Literal["causal", "sequence-classification"]

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
    path = _locate(settings, token)
    files = _Files(path, settings.revision, settings.local_files_only, token)
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
        below = _Files(base, None, settings.local_files_only, token)
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


def require_reranker(checkpoint: Checkpoint) -> RerankerForm:
    """Return the form of a reranker checkpoint, or refuse by name what is none."""
    name, architecture = checkpoint.name, checkpoint.architecture
    if "Pooling" in checkpoint.modules:
        raise WrongModelError(f"{name} is an embedding model; open it with EmbedderSettings.")
    if not checkpoint.is_qwen3:
        raise WrongModelError(
            f"{name} is a {architecture} ({checkpoint.config.get('model_type')}), and only Qwen3"
            " rerankers are scored with the Qwen3 prompt; use sentence-transformers' CrossEncoder"
            " for other ones."
        )
    if architecture.endswith("ForCausalLM"):
        return "causal"
    if architecture.endswith("ForSequenceClassification"):
        labels = _labels(checkpoint.config)
        if labels != 1:
            raise WrongModelError(
                f"{name} has {labels} classes; a converted Qwen3 reranker has one, yes − no."
            )
        return "sequence-classification"
    raise WrongModelError(
        f"{name} is a {architecture}; a Qwen3 reranker is a Qwen3ForCausalLM or a"
        " Qwen3ForSequenceClassification with one class."
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
        shards = set(_load_json(index).get("weight_map", {}).values())
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


def tensor_dtypes(path: Path) -> set[str]:
    """Return the dtypes of the tensors in a safetensors file, such as "BF16"."""
    return {str(tensor["dtype"]) for tensor in _header(path).values()}


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


class _Files:
    """The small files of a folder or a hub repository."""

    def __init__(
        self,
        path: str,
        revision: str | None,
        local_files_only: bool,  # noqa: FBT001 - the hub's own order of arguments
        token: str | None,
    ) -> None:
        self._path = path
        self._options: dict[str, Any] = {
            "revision": revision,
            "local_files_only": local_files_only,
            "token": token,
        }

    def json(self, name: str) -> Any:  # noqa: ANN401 - whatever the file holds
        """Return the file's content, or None where the checkpoint has no such file."""
        folder = Path(self._path)
        if folder.is_dir():
            found = folder / name
            return _load_json(found) if found.exists() else None
        downloaded = self._download(name)
        return None if downloaded is None else _load_json(Path(downloaded))

    def _download(self, name: str) -> str | None:
        from huggingface_hub import errors as hub  # noqa: PLC0415
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 - only for hub models

        try:
            return str(hf_hub_download(self._path, name, **self._options))
        except hub.LocalEntryNotFoundError as error:
            if name != "config.json" and self._cached("config.json"):
                return None  # offline: an optional file that was never downloaded
            raise ModelNotFoundError(
                f"{self._path} is not in the local cache and the hub cannot be reached; check the"
                " name and the network, or give a local folder."
            ) from error
        except hub.RemoteEntryNotFoundError:
            return None
        except hub.GatedRepoError as error:
            raise ModelNotFoundError(
                f"{self._path} is gated; accept its terms on the hub and pass token=."
            ) from error
        except (hub.RepositoryNotFoundError, hub.HFValidationError) as error:
            raise ModelNotFoundError(
                f"there is no folder and no hub repository {self._path!r} (or it is private: pass"
                " token=); check the spelling."
            ) from error
        except hub.RevisionNotFoundError as error:
            raise ModelNotFoundError(
                f"{self._path} has no revision {self._options['revision']!r}; see its branches,"
                " tags and commits on the hub."
            ) from error
        except OSError as error:
            raise ModelNotFoundError(
                f"{self._path} cannot be fetched from the hub ({type(error).__name__}:"
                f" {error!s:.200}); check the network, or give a local folder."
            ) from error

    def _cached(self, name: str) -> bool:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

        revision = self._options["revision"]
        found = try_to_load_from_cache(
            self._path, name, revision=None if revision is None else str(revision)
        )
        return isinstance(found, str)


def _locate(settings: ModelSettings, token: str | None) -> str:
    """Return a folder or hub id for the model; ModelScope models are downloaded to a folder."""
    model = settings.model
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder)
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ModelNotFoundError(f"there is no folder {model}; check the path.")
    if settings.source == "huggingface":
        return model
    try:
        from modelscope import snapshot_download  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ImportError(
            "models from ModelScope need it installed: pip install 'qwen-retrieval[modelscope]'"
        ) from error
    # Older releases know no `token`, so it is passed only if there is one.
    access = {} if token is None else {"token": token}
    try:
        return str(
            snapshot_download(
                model,
                revision=settings.revision,
                local_files_only=settings.local_files_only,
                **access,
            )
        )
    except Exception as error:  # modelscope raises plain exceptions of many kinds
        raise ModelNotFoundError(
            f"{model} cannot be had from ModelScope ({type(error).__name__}: {error!s:.200});"
            " check the name and the network."
        ) from error


def _labels(config: dict[str, Any]) -> int:
    labels = config.get("num_labels")
    return int(labels) if labels is not None else len(config.get("id2label") or {0: 0, 1: 1})


def _load_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFilesError(f"{path} is no valid JSON ({error}); download it again.") from error


def weight_files(path: str, revision: str | None) -> Iterator[Path]:
    """Yield the safetensors files of a loaded checkpoint, which by now are on this disk."""
    folder = Path(path)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for hub models

        folder = Path(
            snapshot_download(
                path, revision=revision, local_files_only=True, allow_patterns="*.safetensors*"
            )
        )
    yield from sorted(folder.glob("*.safetensors"))
