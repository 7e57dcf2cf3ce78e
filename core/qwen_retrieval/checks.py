"""What a single value that a user gives may be: each check names the value, the limit, the remedy.

All raise `SettingsError`.
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from qwen_retrieval.errors import SettingsError


def check_dimensions(dimensions: int, least: int, most: int, model: str) -> None:
    """Refuse a width outside a model's Matryoshka range, naming the range."""
    if not least <= dimensions <= most:
        raise SettingsError(
            f"dimensions is {dimensions}, but {model} gives {least} to {most}; choose within that."
        )


def check_top_n(top_n: int | None, name: str = "top_n") -> None:
    """Refuse a number of results that is negative or no whole number."""
    if top_n is None:
        return
    if isinstance(top_n, bool) or not isinstance(top_n, int) or top_n < 0:
        raise SettingsError(f"{name} is {top_n!r}; give None for all, or a whole number from 0 up.")


def check_threshold(threshold: float | None) -> None:
    """Refuse a score threshold that is no number."""
    if threshold is not None and not (
        isinstance(threshold, int | float) and not math.isnan(threshold)
    ):
        raise SettingsError(f"score_threshold is {threshold!r}; give a number or None.")


def check_one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse what is not one of a few values."""
    if value not in allowed:
        raise SettingsError(f"{name} is {value!r}; choose one of {list(allowed)}.")


def check_string(name: str, value: object) -> None:
    """Refuse what is neither text nor None."""
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{name} is {value!r:.60}; give a str or None.")


def check_positive(name: str, value: object, *, optional: bool) -> None:
    """Refuse what is no whole number from 1 up; None is allowed where `optional`."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(f"{name} is {value!r}; give a whole number from 1 up.")


def check_not_negative(name: str, value: object) -> None:
    """Refuse what is no whole number from 0 up."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SettingsError(f"{name} is {value!r}; give a whole number from 0 up.")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise SettingsError(f"{name} is {value!r}; give True or False.")


def check_seconds(name: str, value: object) -> None:
    """Refuse what is no time above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise SettingsError(f"{name} is {value!r}; give a number of seconds above 0.")


def check_address(base_url: str) -> None:
    """Refuse what is no address of a server, and one that holds a secret, which is not repeated."""
    try:
        parts = urlsplit(base_url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
        secret = parts.username is not None or parts.password is not None
        _ = parts.port  # raises for one that is no number
    except ValueError:
        valid, secret = False, False
    if secret:
        raise SettingsError(
            "base_url holds a user name or password, and settings are saved with chains and"
            " indexes; give the server's key as token= instead."
        )
    if not valid or parts.query or parts.fragment:
        raise SettingsError(
            f"base_url is {base_url!r}; give an address such as 'http://localhost:8000', without a"
            " query."
        )
