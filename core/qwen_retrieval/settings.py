"""What a user can choose: frozen, hashable, JSON-able settings of the two stages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from qwen_retrieval.catalog import (
    DEFAULT_EMBEDDER,
    DEFAULT_INSTRUCTION,
    DEFAULT_RERANKER,
    MIN_DIMENSIONS,
    RELEASED,
)
from qwen_retrieval.checks import (
    check_address,
    check_dimensions,
    check_flag,
    check_not_negative,
    check_one_of,
    check_positive,
    check_seconds,
    check_string,
)
from qwen_retrieval.errors import IndexMismatchError, SettingsError, WrongModelError

DType = Literal["float32", "bfloat16", "float16"]
Precision = Literal["int8"]
Source = Literal["huggingface", "modelscope"]
Backend = Literal["torch", "onnx", "openvino"]
Server = Literal[
    "vllm", "tei", "llama_cpp", "sglang", "ollama", "infinity", "dashscope", "openai", "jina"
]
TooLong = Literal["truncate", "refuse"]
PrefixedQuery = Literal["refuse", "as_is"]
VectorType = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
ScoreType = Literal["probability", "logit"]
Ranges = tuple[tuple[float, ...], tuple[float, ...]]

COMPUTING = 3
"""Of the way texts become vectors and scores: a release that changes prompts or pooling counts it
up, so that nothing stored before is taken for what would be computed now."""
LOCAL_ONLY = (
    "trust_remote_code", "safetensors_only", "device", "dtype", "precision", "attention", "backend",
)  # fmt: skip
"""Settings of weights in this process, which a server has chosen for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What both stages share.

    Attributes:
        model: hub id, ModelScope id or local folder.
        revision: branch, tag or commit of the model repository.
        source: where `model` is looked up if it is no folder; "modelscope" needs the extra.
        local_files_only: never reach for the network.
        trust_remote_code: run Python code that lies in the model repository.
        safetensors_only: refuse pickled weights, which can run code when loaded.
        device: "cpu", "cuda", "cuda:1", "mps", …; several share the batches; None picks the best.
        dtype: of the weights; None measures which is fastest on the device and keeps float32
            unless another wins clearly, on each of several. In float32 on a CPU, matrices that
            lose nothing by it that float32 could tell may lie in 16 bits, where that is no slower.
        precision: "int8" computes a Qwen3 model's linear layers in 8-bit integers on a CPU, 1.5
            times as fast or more, for a small loss; None computes in the weights' dtype.
        attention: transformers' attention implementation ("sdpa", "eager", "flash_attention_2", …);
            any but "sdpa", its default, leaves the whole of a Qwen3 model to transformers, without
            the library's shared beginnings.
        backend: "onnx" and "openvino" pass through to sentence-transformers for models other than
            Qwen3 and need its extras.
        max_length: tokens a sequence may have, prompt included; None takes the model's own limit
            (for rerankers the reference's 8,192).
        too_long: cut a longer document with one warning, or refuse it.
        batch_size: sequences computed at once, at most.
        batch_tokens: tokens computed at once, padding included, at most (a single longer sequence
            still runs); None takes 1,024 on a CPU, where more gains nothing and others would wait
            longer, and 16,384 elsewhere.
        progress_bar: show one over the sequences of a call.
        server: what answers instead of a model in this process: "vllm", "tei" (Text Embeddings
            Inference), "llama_cpp" (llama-server), "sglang", "ollama", "infinity", "dashscope"
            (Alibaba Cloud), "openai" (anything with OpenAI's /v1/embeddings) or "jina" (anything
            with Jina's or Cohere's /v1/rerank). `model` then names the checkpoint it serves, of
            which only the tokenizer is read here.
        base_url: the server's address, such as "http://localhost:8000"; DashScope has a default.
        served_model: the model's name on the server; None takes `model` if the server lists it,
            else the only one that it lists.
        timeout: seconds for one request, its retries included; a call may take several requests.
        max_retries: times a request is sent again that failed for want of time, room or network.
        max_concurrency: requests under way at once.
        verify_tls: check the server's certificate; a path names the authorities to trust instead.
        check_server: before the first call, examine the server as ``qwen-retrieval doctor`` does,
            and raise `ServerSetupError` where something is set up wrongly.
    """

    model: str
    revision: str | None = None
    source: Source = "huggingface"
    local_files_only: bool = False
    trust_remote_code: bool = False
    safetensors_only: bool = True
    device: str | tuple[str, ...] | None = None
    dtype: DType | None = None
    precision: Precision | None = None
    attention: str | None = None
    backend: Backend = "torch"
    max_length: int | None = None
    too_long: TooLong = "truncate"
    batch_size: int = 32
    batch_tokens: int | None = None
    progress_bar: bool = False
    server: Server | None = None
    base_url: str | None = None
    served_model: str | None = None
    timeout: float = 120.0
    max_retries: int = 4
    max_concurrency: int = 8
    verify_tls: bool | str = True
    check_server: bool = False

    def __post_init__(self) -> None:
        """Refuse what can be known to be wrong without loading the model."""
        if isinstance(self.device, list):
            object.__setattr__(self, "device", tuple(self.device))
        if not isinstance(self.model, str) or not self.model:
            raise SettingsError(f"model is {self.model!r}; give a hub id or a folder as a string.")
        if isinstance(self.device, tuple) and not self.device:
            raise SettingsError(
                "device is empty; name one device or several, or None for the best."
            )
        check_one_of("source", self.source, get_args(Source))
        check_one_of("dtype", self.dtype, (*get_args(DType), None))
        check_one_of("precision", self.precision, (*get_args(Precision), None))
        check_one_of("backend", self.backend, get_args(Backend))
        if self.precision is not None and (self.dtype or "float32") != "float32":
            raise SettingsError(
                f"precision is {self.precision!r} and dtype is {self.dtype!r}, but the integers are"
                " made of float32 weights; leave one of the two out."
            )
        check_one_of("too_long", self.too_long, get_args(TooLong))
        for name in ("max_length", "batch_size", "batch_tokens"):
            check_positive(name, getattr(self, name), optional=name != "batch_size")
        self._check_server()
        released = RELEASED.get(self.model)
        if released is not None and (self.max_length or 0) > released.context:
            raise SettingsError(
                f"max_length is {self.max_length}, but {self.model} has a context of"
                f" {released.context} tokens; give at most that."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-able values; `from_dict` takes them back."""
        return {
            name: list(map(_plain, value)) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def _check_server(self) -> None:
        check_one_of("server", self.server, (*get_args(Server), None))
        for name in ("base_url", "served_model"):
            check_string(name, getattr(self, name))
        check_positive("max_concurrency", self.max_concurrency, optional=False)
        check_not_negative("max_retries", self.max_retries)
        check_seconds("timeout", self.timeout)
        if not isinstance(self.verify_tls, bool | str):
            raise SettingsError(
                f"verify_tls is {self.verify_tls!r}; give True, False, or the path of a file with"
                " the certificates to trust."
            )
        check_flag("check_server", self.check_server)
        if self.server is None:
            for name in ("base_url", "served_model"):
                if getattr(self, name) is not None:
                    raise SettingsError(
                        f"{name} is {getattr(self, name)!r}, but server is None, so nothing would"
                        f" use it; choose server= one of {list(get_args(Server))}."
                    )
            return
        if self.base_url is None and self.server != "dashscope":
            raise SettingsError(
                f"server is {self.server!r} and base_url is None; give the server's address, such"
                " as base_url='http://localhost:8000'."
            )
        if self.base_url is not None:
            check_address(self.base_url)
        defaults = {field.name: field.default for field in fields(self)}
        for name in LOCAL_ONLY:
            if getattr(self, name) != defaults[name]:
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, but the server {self.server!r} has chosen"
                    f" that for itself; start the server with it, and leave {name} out here."
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that `to_dict` wrote.

        Raises:
            SettingsError: a name is unknown.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingsError(f"unknown settings {unknown}; known are {sorted(known)}.")
        return cls(**{name: _frozen(value) for name, value in values.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderSettings(ModelSettings):
    r"""How texts become vectors.

    Attributes:
        query_instruction: the task put before queries; None takes the model's own default, ""
            none. Only for models with the ``Instruct: …\nQuery:`` template (Qwen3).
        query_prompt: text put before queries verbatim, instead of an instruction.
        document_prompt: text put before documents verbatim; None takes the model's own (Qwen3:
            none).
        prefixed_query: refuse a query that already begins with ``Instruct: …\nQuery:``, or take it
            as it is.
        dimensions: width to cut the vectors to (Matryoshka); None keeps the model's own.
        normalize: scale vectors to unit length, after the cut.
        vector_type: what adapters hand out, by sentence-transformers' quantiser; the contract
            itself always returns float32.
        vector_ranges: per dimension the smallest and the largest value, for "int8" and "uint8";
            from `qwen_retrieval.vectors.calibrate`.
    """

    model: str = DEFAULT_EMBEDDER
    query_instruction: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    prefixed_query: PrefixedQuery = "refuse"
    dimensions: int | None = None
    normalize: bool = True
    vector_type: VectorType = "float32"
    vector_ranges: Ranges | None = None

    def __post_init__(self) -> None:
        """Refuse what can be known to be wrong without loading the model."""
        super(EmbedderSettings, self).__post_init__()
        if self.vector_ranges is not None:
            object.__setattr__(self, "vector_ranges", tuple(map(tuple, self.vector_ranges)))
        for name in ("query_instruction", "query_prompt", "document_prompt"):
            check_string(name, getattr(self, name))
        if self.server is not None and not self.normalize:
            raise SettingsError(
                f"normalize is False, but servers ({self.server!r}) hand out vectors of unit length"
                " only; leave it out."
            )
        check_one_of("prefixed_query", self.prefixed_query, get_args(PrefixedQuery))
        check_one_of("vector_type", self.vector_type, get_args(VectorType))
        check_positive("dimensions", self.dimensions, optional=True)
        if self.query_instruction is not None and self.query_prompt is not None:
            raise SettingsError(
                "query_instruction and query_prompt are both set; give one: the instruction is put"
                " into the model's template, the prompt is used verbatim."
            )
        if self.vector_type in {"int8", "uint8"} and self.vector_ranges is None:
            raise SettingsError(
                f"vector_type is {self.vector_type!r} without vector_ranges: ranges taken from a"
                " batch would change with the batch; give those of"
                " qwen_retrieval.vectors.calibrate(sample_vectors)."
            )
        released = RELEASED.get(self.model)
        if released is None:
            return
        if released.kind != "embedder":
            raise WrongModelError(f"{self.model} is a reranker; give it to RerankerSettings.")
        if self.dimensions is not None and self.server != "dashscope":  # whose models are its own
            check_dimensions(self.dimensions, MIN_DIMENSIONS, released.width, self.model)

    def identity(self) -> dict[str, Any]:
        """Return what a stored document vector depends on, by name.

        Store it beside an index; `require_same_embedder` compares it. The query instruction is not
        part of it, since documents do not carry one. The kind of server is, and the name of its
        model, since engines compute in their own ways; its address is not.
        """
        names = (
            "model", "revision", "document_prompt", "dimensions", "normalize", "vector_type",
            "vector_ranges", "max_length", "precision", "server", "served_model",
        )  # fmt: skip
        values = self.to_dict()
        return {name: values[name] for name in names}

    def fingerprint(self) -> str:
        """Return a short name of everything that a vector, of query or document, depends on.

        Two settings with the same fingerprint give the same vectors up to rounding, so it can name
        a cache. Computing dtypes float32, bfloat16 and float16 count as one class.
        """
        instruction = self.query_instruction
        if instruction is None and self.model in RELEASED:
            instruction = DEFAULT_INSTRUCTION  # another model may have saved one of its own
        queries = {
            "query_instruction": None if self.query_prompt is not None else instruction,
            "query_prompt": self.query_prompt,
            "prefixed_query": self.prefixed_query,
        }
        text = json.dumps({**self.identity(), **queries}, sort_keys=True, ensure_ascii=False)
        return f"qwen-retrieval-{COMPUTING}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerSettings(ModelSettings):
    """How documents are ordered for a query.

    Attributes:
        instruction: the task put into the prompt; None takes the default web-search sentence.
        score_type: "probability" is P("yes") = sigmoid(yes − no); "logit" is yes − no.
    """

    model: str = DEFAULT_RERANKER
    instruction: str | None = None
    score_type: ScoreType = "probability"

    def __post_init__(self) -> None:
        """Refuse what can be known to be wrong without loading the model."""
        super(RerankerSettings, self).__post_init__()
        check_string("instruction", self.instruction)
        check_one_of("score_type", self.score_type, get_args(ScoreType))
        released = RELEASED.get(self.model)
        if released is not None and released.kind != "reranker":
            raise WrongModelError(f"{self.model} is an embedder; give it to EmbedderSettings.")


def require_same_embedder(stored: Mapping[str, Any], settings: EmbedderSettings) -> None:
    """Refuse to query an index that another embedder made.

    Args:
        stored: what ``EmbedderSettings.identity()`` returned when the index was written.
        settings: those of the embedder that is to query it.

    Raises:
        IndexMismatchError: naming each setting that differs.
    """
    now = settings.identity()
    differing = sorted(
        name for name in {*now, *stored} if stored.get(name, ...) != now.get(name, ...)
    )
    if differing:
        pairs = ", ".join(f"{n}: {stored.get(n)!r} there, {now.get(n)!r} here" for n in differing)
        raise IndexMismatchError(
            f"the index was made by another embedder ({pairs}); use the settings it was made with,"
            " or index the documents again."
        )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:  # noqa: ANN401 - JSON values of any kind pass through
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
