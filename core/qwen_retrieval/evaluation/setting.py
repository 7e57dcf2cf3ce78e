"""What `compare` varies, and what each choice costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Literal, Self, get_args

from qwen_retrieval.errors import SettingsError

Precision = Literal["float32", "float16", "int8", "binary"]
BITS: dict[Precision, int] = {"float32": 32, "float16": 16, "int8": 8, "binary": 1}
"""Of one dimension of a stored vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to retrieve.

    Attributes:
        model: the embedder.
        instruction: "default" for the model's own, "none", a preset's name, or a sentence.
        dimensions: width of the stored vectors.
        precision: type of the stored vectors; queries stay float32.
        reranker: None where `depth` is 0.
        depth: how many of the best the reranker puts into its own order.
    """

    model: str
    instruction: str
    dimensions: int
    precision: Precision
    reranker: str | None = None
    depth: int = 0

    @property
    def bytes_per_document(self) -> int:
        """What a document's vector takes in the index; binary packs eight dimensions a byte."""
        return -(-self.dimensions * BITS[self.precision] // 8)

    def __str__(self) -> str:
        """Return it in one line, models by the last part of their names."""
        parts = [short(self.model), f"{self.dimensions} × {self.precision}", self._asked]
        if self.reranker is not None:
            parts.append(f"{self.depth} reranked by {short(self.reranker)}")
        return ", ".join(parts)

    @property
    def _asked(self) -> str:
        if self.instruction in {"default", "none"}:
            return f"{'no' if self.instruction == 'none' else 'default'} instruction"
        quoted = f"“{self.instruction}”" if " " in self.instruction else self.instruction
        return f"instruction {quoted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a setting costs; None where it cannot be known.

    Attributes:
        bytes_per_document: of the index.
        tokens_per_document: that the embedder reads, once.
        tokens_per_query: that embedder and reranker read together.
        seconds_per_document: of embedding, in batches.
        seconds_per_query: of embedding and reranking, in batches; without the search itself.
    """

    bytes_per_document: float | None = None
    tokens_per_document: float | None = None
    tokens_per_query: float | None = None
    seconds_per_document: float | None = None
    seconds_per_query: float | None = None

    def within(self, budget: Costs) -> bool:
        """Say whether nothing costs more than the budget allows; None there is no limit.

        Raises:
            SettingsError: the budget limits what is not known.
        """
        for name, limit in asdict(budget).items():
            cost = getattr(self, name)
            if limit is None:
                continue
            if cost is None:
                raise SettingsError(
                    f"the budget limits {name} to {limit:g}, but no tokens can be counted for one"
                    " of the models; limit seconds instead, or leave that model out."
                )
            if cost > limit:
                return False
        return True

    def __str__(self) -> str:
        """Return what is known or limited, in one line."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        said = [f"{name.replace('_', ' ')} ≤ {v:g}" for name, v in known.items() if v is not None]
        return ", ".join(said) if said else "no limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What to combine; every choice is combined with every other.

    Attributes:
        dimensions: widths; those that a model does not have are left out for it. None takes its
            own width and each half of it down to 32.
        instructions: as in `Setting`; a model without a template for them knows "default" alone.
        precisions: of stored vectors.
        depths: of reranking; 0 is embedding alone.
    """

    dimensions: tuple[int, ...] | None = None
    instructions: tuple[str, ...] = ("default", "none")
    precisions: tuple[Precision, ...] = ("float32", "int8", "binary")
    depths: tuple[int, ...] = (0, 10, 30, 100)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for precision in self.precisions:
            if precision not in get_args(Precision):
                raise SettingsError(
                    f"precision is {precision!r}; choose among {list(get_args(Precision))}."
                )
        for name, least in (("depths", 0), ("dimensions", 1)):
            for value in getattr(self, name) or ():
                if value < least:
                    raise SettingsError(f"{name} holds {value}; give numbers from {least} up.")
        for name in ("dimensions", "instructions", "precisions", "depths"):
            if getattr(self, name) == ():
                raise SettingsError(f"{name} is empty; give at least one.")

    def widths(self, full: int, least: int = 32) -> list[int]:
        """Return the widths to try with a model, the smallest first.

        Args:
            full: the model's own width.
            least: the smallest that makes sense for it, by default.

        Raises:
            SettingsError: none of those asked for lies within the model's width.
        """
        if self.dimensions is not None:
            found = sorted({each for each in self.dimensions if each <= full})
            if not found:
                raise SettingsError(
                    f"dimensions are {list(self.dimensions)}, but the model has {full}; give"
                    " at most that."
                )
            return found
        found = [full]
        while found[-1] // 2 >= least:
            found.append(found[-1] // 2)
        return found[::-1]

    def for_model(self, full: int, *, takes_instructions: bool) -> Self:
        """Return the grid as it applies to a model of that width."""
        instructions = tuple(dict.fromkeys(self.instructions))
        return type(self)(
            dimensions=tuple(self.widths(full)),
            instructions=instructions if takes_instructions else ("default",),
            precisions=tuple(dict.fromkeys(self.precisions)),
            depths=tuple(sorted(set(self.depths))),
        )

    def settings(self, model: str, rerankers: Sequence[str]) -> Iterator[Setting]:
        """Yield every combination for one model, embedding alone first."""
        stages: list[tuple[str | None, int]] = [(None, 0)] if 0 in self.depths else []
        stages += [(name, depth) for name in rerankers for depth in self.depths if depth > 0]
        for instruction, (reranker, depth), dimensions, precision in product(
            self.instructions, stages, self.dimensions or (), self.precisions
        ):
            yield Setting(
                model=model,
                instruction=instruction,
                dimensions=dimensions,
                precision=precision,
                reranker=reranker,
                depth=depth,
            )


def short(model: str) -> str:
    """Return the last part of a model's name, or of a folder's the last two."""
    path = Path(model).expanduser()
    return "/".join(path.parts[-2:]) if path.is_dir() else path.name
