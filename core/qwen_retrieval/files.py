"""The small files of a checkpoint, wherever it lies: a folder, the hub, ModelScope."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_retrieval.errors import ModelFilesError, ModelNotFoundError

if TYPE_CHECKING:
    from qwen_retrieval.settings import ModelSettings


class Files:
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

    def path(self, name: str) -> Path | None:
        """Return where the file lies on this disk, or None where the checkpoint has none such."""
        folder = Path(self._path)
        if folder.is_dir():
            found = folder / name
            return found if found.exists() else None
        downloaded = self._download(name)
        return None if downloaded is None else Path(downloaded)

    def json(self, name: str) -> Any:  # noqa: ANN401 - whatever the file holds
        """Return the file's content, or None where the checkpoint has no such file."""
        found = self.path(name)
        return None if found is None else load_json(found)

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


def locate(
    settings: ModelSettings, token: str | None, patterns: Sequence[str] | None = None
) -> str:
    """Return a folder or hub id for the model; ModelScope models are downloaded to a folder.

    Args:
        settings: whose model it is.
        token: for private repositories.
        patterns: names of the files that are needed; None for all.
    """
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
    options: dict[str, Any] = {} if token is None else {"token": token}
    if patterns is not None:
        options["allow_patterns"] = list(patterns)
    try:
        return str(
            snapshot_download(
                model,
                revision=settings.revision,
                local_files_only=settings.local_files_only,
                **options,
            )
        )
    except Exception as error:  # modelscope raises plain exceptions of many kinds
        raise ModelNotFoundError(
            f"{model} cannot be had from ModelScope ({type(error).__name__}: {error!s:.200});"
            " check the name and the network."
        ) from error


def load_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the file's content, or raise `ModelFilesError` naming the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFilesError(f"{path} is no valid JSON ({error}); download it again.") from error
