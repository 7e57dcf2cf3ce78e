"""What `mteb.evaluate` asks of a model, so that embedders and rerankers can be handed to it.

mteb calls `encode`, `similarity` and `similarity_pairwise` of an embedder, `predict` of a reranker,
and reads `mteb_model_meta` of both (`mteb.models.EncoderProtocol`, `CrossEncoderProtocol`), so that
``mteb.evaluate(open_embedder(settings), mteb.get_task("SciFact"))`` is all it takes.

mteb itself is not needed for anything else and is imported only by `mteb_model_meta`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.instructions import PRESETS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from qwen_retrieval.contract import Pair, Vectors
    from qwen_retrieval.settings import EmbedderSettings, ModelSettings, RerankerSettings

Batches = Iterable[Mapping[str, Any]]
"""mteb's data loader: each batch has a list of strings as its "text", titles put before them."""

NOT_IN_RESULTS = frozenset(
    {"model", "revision", "source", "local_files_only", "safetensors_only", "trust_remote_code"}
    | {"device", "batch_size", "batch_tokens", "progress_bar", "vector_type", "vector_ranges"}
    | {"base_url", "timeout", "max_retries", "max_concurrency", "verify_tls", "check_server"}
)
"""Settings that no score depends on, or that mteb's name of the model already holds; a server's
address is nobody's business who reads results."""


class MtebEncoder:
    """The part of an embedder that mteb sees."""

    settings: EmbedderSettings

    if TYPE_CHECKING:

        def embed_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
            """As in the contract."""

        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            """As in the contract."""

        def takes_instructions(self) -> bool:
            """Say whether the model has a template for instructions."""

    def encode(
        self,
        inputs: Batches,
        *,
        task_metadata: Any,  # noqa: ANN401 - mteb's TaskMetadata
        hf_split: str,  # noqa: ARG002 - mteb names it
        hf_subset: str,  # noqa: ARG002 - the same
        prompt_type: Any = None,  # noqa: ANN401 - mteb's PromptType
        **kwargs: Any,  # noqa: ANN401 - batch size and progress bar, which the settings hold
    ) -> Vectors:
        """Return vectors for mteb: documents as they are, anything else with the instruction.

        Tasks without documents (similarity, classification, clustering) ask for no kind of prompt;
        their texts carry the instruction, as in the published evaluation of the models. It is the
        settings' own if they have one, else that of the task (`task_instruction`).

        Raises:
            SettingsError: mteb is asked for another ``precision`` than float32.
        """
        if kwargs.get("precision", "float32") != "float32":
            raise SettingsError(
                f"precision is {kwargs['precision']!r}, but embedders return float32; leave it out"
                " of encode_kwargs, and see `qwen-retrieval compare` for what int8 and binary cost."
            )
        texts = _texts(inputs)
        if prompt_type is not None and str(prompt_type.value) == "document":
            return self.embed_documents(texts)
        settings = self.settings
        chosen = settings.query_instruction is not None or settings.query_prompt is not None
        if chosen or not self.takes_instructions():
            return self.embed_queries(texts)
        return self.embed_queries(texts, instruction=task_instruction(task_metadata))

    def similarity(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> Vectors:
        """Return the dot product of each with each, (n, m); of unit vectors it is the cosine."""
        first, second = np.atleast_2d(embeddings1), np.atleast_2d(embeddings2)
        return np.asarray(first @ second.T, np.float32)

    def similarity_pairwise(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> Vectors:
        """Return the dot product of each with its counterpart, (n,)."""
        first, second = np.atleast_2d(embeddings1), np.atleast_2d(embeddings2)
        return np.asarray((first * second).sum(axis=1), np.float32)

    @property
    def mteb_model_meta(self) -> Any:  # noqa: ANN401 - mteb.models.ModelMeta
        """What mteb names the model by, and finds earlier results under."""
        unit = self.settings.normalize
        return _meta(
            self.settings,
            embed_dim=self.settings.dimensions,
            similarity_fn_name="cosine" if unit else "dot",
            model_type=["dense"],
        )


class MtebCrossEncoder:
    """The part of a reranker that mteb sees."""

    settings: RerankerSettings

    if TYPE_CHECKING:

        def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
            """As in the contract."""

    def predict(  # noqa: PLR0913 - mteb's own arguments
        self,
        inputs1: Batches,
        inputs2: Batches,
        *,
        task_metadata: Any,  # noqa: ANN401 - mteb's TaskMetadata
        hf_split: str,  # noqa: ARG002 - mteb names it
        hf_subset: str,  # noqa: ARG002 - the same
        prompt_type: Any = None,  # noqa: ANN401, ARG002 - the same
        **kwargs: Any,  # noqa: ANN401, ARG002 - batch size and progress bar, which the settings hold
    ) -> Vectors:
        """Return the score of each pair for mteb, queries first; shape (n,).

        The instruction is the settings' own if they have one, else that of the task.
        """
        pairs = list(zip(_texts(inputs1), _texts(inputs2), strict=True))
        own = self.settings.instruction
        return self.score(
            pairs, instruction=task_instruction(task_metadata) if own is None else own
        )

    @property
    def mteb_model_meta(self) -> Any:  # noqa: ANN401 - mteb.models.ModelMeta
        """What mteb names the model by, and finds earlier results under."""
        return _meta(self.settings, model_type=["cross-encoder"])


def task_instruction(task_metadata: Any) -> str | None:  # noqa: ANN401 - mteb's TaskMetadata
    """Return the instruction for a task of mteb, or None for the model's own default.

    It is the one that was published for the models, by the task's name; for other tasks, the one
    that mteb gives for queries, if it gives any.
    """
    published = PRESETS.get(task_metadata.name)
    if published is not None:
        return published.query
    given = task_metadata.prompt
    if isinstance(given, Mapping):
        given = given.get("query")
    return given or None  # mteb's empty prompt is none


def _texts(batches: Batches) -> list[str]:
    return [text for batch in batches for text in batch["text"]]


def _meta(settings: ModelSettings, **known: Any) -> Any:  # noqa: ANN401 - mteb's own types
    try:
        from mteb.models import ModelMeta  # noqa: PLC0415 - takes seconds
    except ModuleNotFoundError as error:
        # An attribute that is not there, for whoever looks through all of them.
        raise AttributeError("mteb_model_meta needs mteb: python -m pip install mteb") from error

    empty = ModelMeta.create_empty()
    own = {
        field.name: value
        for field in fields(settings)
        if field.name not in NOT_IN_RESULTS
        and (value := getattr(settings, field.name)) != field.default
    }
    name, folder = settings.model, Path(settings.model)
    if folder.is_dir():
        # Two folders of one name are two models, and their results lie in two places.
        name, own["folder"] = f"local/{folder.resolve().name}", str(folder.resolve())
    return empty.model_copy(
        update={
            "name": name if "/" in name else f"local/{name}",
            "revision": settings.revision or empty.revision,
            "framework": ["Sentence Transformers", "PyTorch"],
            "use_instructions": True,
            "max_tokens": settings.max_length,
            "experiment_kwargs": own or None,
            **known,
        }
    )
