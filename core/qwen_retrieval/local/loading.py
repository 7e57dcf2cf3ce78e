"""From settings to a sentence-transformers model, with errors that say what to do."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from qwen_retrieval.errors import ModelFilesError, QwenRetrievalError, SettingsError
from qwen_retrieval.local.checkpoint import Checkpoint, stored_dtypes, tensor_names, weight_files
from qwen_retrieval.local.memory import is_out_of_memory
from qwen_retrieval.local.precision import fastest_dtype
from qwen_retrieval.tokens import plain_encoder

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from qwen_retrieval.settings import ModelSettings


def devices(settings: ModelSettings) -> tuple[str, ...]:
    """Return the device of each copy of the model; the best one where none is asked for."""
    if settings.device is None:
        from sentence_transformers.util import get_device_name  # noqa: PLC0415 - loads torch

        asked: tuple[str, ...] = (get_device_name(),)
    else:
        asked = settings.device if isinstance(settings.device, tuple) else (settings.device,)
    return tuple(_indexed(device) for device in asked)


def _indexed(device: str) -> str:
    """Return which GPU "cuda" means, so that its other name does not load the weights again."""
    if device != "cuda":
        return device
    import torch  # noqa: PLC0415 - loaded with the first model

    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else device


def chosen_dtype(settings: ModelSettings) -> torch.dtype:
    """Return the dtype asked for, else the one that measures best on the devices.

    Where they differ it is float32 for all, so that no result depends on which of them was free.
    """
    import torch  # noqa: PLC0415 - loaded with the first model

    if settings.precision is not None:
        return torch.float32
    if settings.dtype is None:
        best = {fastest_dtype(device) for device in devices(settings)}
        return best.pop() if len(best) == 1 else torch.float32
    found = getattr(torch, settings.dtype)
    assert isinstance(found, torch.dtype)  # noqa: S101 - settings allow nothing else
    return found


def load_sentence_transformer(
    checkpoint: Checkpoint, settings: ModelSettings, device: str, token: str | None
) -> SentenceTransformer:
    """Return the embedding model on the device."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - takes seconds

    with _one_at_a_time, _named_errors(checkpoint.name), _quiet(settings):
        model = SentenceTransformer(
            checkpoint.path, **_options(checkpoint, settings, device, token)
        )
        _finish(model, checkpoint, settings)
    return model


def load_cross_encoder(
    checkpoint: Checkpoint, settings: ModelSettings, device: str, token: str | None
) -> CrossEncoder:
    """Return the reranking model on the device."""
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - takes seconds

    with _one_at_a_time, _named_errors(checkpoint.name), _quiet(settings):
        # Its decorated constructor is untyped.
        model: CrossEncoder = CrossEncoder(
            checkpoint.path, **_options(checkpoint, settings, device, token)
        )
        _finish(model, checkpoint, settings)
    return model


def _options(
    checkpoint: Checkpoint, settings: ModelSettings, device: str, token: str | None
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {}
    if settings.backend == "torch":
        kwargs["dtype"] = _loaded_dtype(checkpoint, settings, device, token)
        kwargs["use_safetensors"] = True if settings.safetensors_only else None
        if settings.attention is not None:
            kwargs["attn_implementation"] = settings.attention
    return {
        "device": device,
        "backend": settings.backend,
        # A LoRA folder's revision is the adapter's, not its base model's.
        "revision": settings.revision if checkpoint.adapter is None else None,
        "local_files_only": settings.local_files_only,
        "trust_remote_code": settings.trust_remote_code,
        "token": token,
        "model_kwargs": kwargs,
    }


def _loaded_dtype(
    checkpoint: Checkpoint, settings: ModelSettings, device: str, token: str | None
) -> torch.dtype:
    """Return the dtype to load in; what is to be float32 on a CPU is loaded as it is stored."""
    wanted = chosen_dtype(settings)
    if not _is_widened(checkpoint, wanted, device):
        return wanted
    import torch  # noqa: PLC0415 - loaded with the first model

    # config.json may name another: a head that was made later is often stored in float32.
    stored = stored_dtypes(checkpoint.path, settings, token)
    known = {"BF16": torch.bfloat16, "F16": torch.float16}
    return known.get(stored.pop(), wanted) if len(stored) == 1 else wanted


def _is_widened(checkpoint: Checkpoint, wanted: torch.dtype, device: str) -> bool:
    """Say whether the weights are turned to float32 after loading, one matrix at a time.

    Not where more stands behind it: an adapter is made for the weights as they are computed with,
    and sentence-transformers rounds the weights of further modules to the dtype of the first.
    """
    alone = checkpoint.adapter is None and checkpoint.base is None
    plain = checkpoint.is_qwen3 and alone and _WITHOUT_WEIGHTS.issuperset(checkpoint.modules[1:])
    return plain and device == "cpu" and str(wanted) == "torch.float32"


_WITHOUT_WEIGHTS = {"Pooling", "Normalize", "LogitScore"}


def _finish(
    model: SentenceTransformer | CrossEncoder, checkpoint: Checkpoint, settings: ModelSettings
) -> None:
    if checkpoint.adapter is not None:
        _load_adapter(model, checkpoint)
    if checkpoint.is_qwen3 and settings.safetensors_only and settings.backend == "torch":
        _check_complete(model, checkpoint, settings)
    model.eval()
    if settings.precision is not None:
        _reduce(model, settings)
    elif settings.backend == "torch" and _is_widened(
        checkpoint, chosen_dtype(settings), model.device.type
    ):
        _widen(model)
    # The card points back at its model; loosened, closing frees the weights at once and not when
    # the collector comes by.
    model.model_card_data.model = weakref.proxy(model)  # type: ignore[assignment] # stands in for it


def _widen(model: SentenceTransformer | CrossEncoder) -> None:
    from qwen_retrieval.local.network import (  # noqa: PLC0415 - loads torch
        decoder_of,
        unknown_to_network,
    )
    from qwen_retrieval.local.widening import widen  # noqa: PLC0415 - loads torch

    inner: Any = model.transformers_model
    if unknown_to_network(inner) is None:
        widen(decoder_of(inner))
    else:
        inner.float()  # computed by transformers, which wants one dtype


def _reduce(model: SentenceTransformer | CrossEncoder, settings: ModelSettings) -> None:
    """Turn the linear layers into 8-bit ones, where the model and the device have them."""
    from qwen_retrieval.local.network import (  # noqa: PLC0415 - loads torch
        decoder_of,
        unknown_to_network,
    )
    from qwen_retrieval.local.reducing import to_int8  # noqa: PLC0415 - loads torch

    inner: Any = model.transformers_model
    if getattr(getattr(inner, "config", None), "model_type", None) != "qwen3":
        obstacle: str | None = f"{settings.model} is no Qwen3 model"
    elif model.device.type != "cpu":
        obstacle = f"the device is {model.device}, and this is for CPUs"
    else:
        obstacle = unknown_to_network(inner)
    if obstacle is not None:
        raise SettingsError(
            f"precision is {settings.precision!r}, but {obstacle}; leave precision out."
        )
    to_int8(decoder_of(inner), plain_encoder(model.tokenizer.backend_tokenizer))


def _load_adapter(model: SentenceTransformer | CrossEncoder, checkpoint: Checkpoint) -> None:
    """Put the adapter on its base, or refuse one whose weights find no place there."""
    info = model.load_adapter(checkpoint.adapter)
    stray = [
        *getattr(info, "missing_keys", ()),
        *getattr(info, "unexpected_keys", ()),
    ]
    if stray:
        raise ModelFilesError(
            f"the adapter {checkpoint.adapter} does not fit its base {checkpoint.path}:"
            f" {len(stray)} weights have no counterpart ({min(stray)}, …), and the base would"
            " answer unchanged; was it trained on this model?"
        )


def _check_complete(
    model: SentenceTransformer | CrossEncoder, checkpoint: Checkpoint, settings: ModelSettings
) -> None:
    """Refuse weights that the checkpoint lacks: transformers would fill them at random."""
    inner = model.transformers_model
    if inner is None:
        return
    whole = checkpoint.adapter is None and checkpoint.base is None
    weights = checkpoint.path if checkpoint.base is None else checkpoint.base
    names = {
        name.removeprefix("model.")
        for path in weight_files(weights, settings.revision if whole else None)
        for name in tensor_names(path)
    }
    if not names:
        return  # the weights lie in a module's own folder, which sentence-transformers checks
    wanted = {
        name.removeprefix("model.").replace(".base_layer.", ".")
        for name in inner.state_dict()
        if ".lora_" not in name
    }
    if checkpoint.config.get("tie_word_embeddings"):
        wanted -= {"lm_head.weight"}
    missing = sorted(wanted - names)
    if missing:
        raise ModelFilesError(
            f"{checkpoint.name} lacks {len(missing)} weights of a {type(inner).__name__}"
            f" ({missing[0]}, …), which would be random; it is incomplete or of another kind."
        )


# While it builds a model, transformers replaces torch's default dtype and initialisers for the
# whole process; two models built at once would see each other's and leave them replaced.
_one_at_a_time = Lock()


@contextmanager
def _quiet(settings: ModelSettings) -> Iterator[None]:
    """Keep transformers' bar over the weights' tensors away unless bars are asked for."""
    from transformers.utils import logging  # noqa: PLC0415 - loaded with the first model

    shown = logging.is_progress_bar_enabled()
    if shown and not settings.progress_bar:
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    from safetensors import SafetensorError  # noqa: PLC0415 - comes with transformers

    try:
        yield
    except (QwenRetrievalError, ImportError):
        raise
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().split("\n")[0]
        raise ModelFilesError(
            f"{name} cannot be loaded ({type(error).__name__}: {reason:.300}); download it again,"
            " or check that all of its files are there and that the settings suit it."
        ) from error
