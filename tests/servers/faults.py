"""Everything that can go wrong between a client and a server, each fault in one function.

A fault takes an `Exchange` and answers it wrongly. Those of `FAULTS` are the table's; `HOSTILE`
ones come from a server that means harm.
"""

from __future__ import annotations

import gzip
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import cache
from typing import Any

from servers.engines import Reply
from servers.items import Number, changed, index_name, items_of
from servers.setup import Kind
from servers.wire import JSON, Exchange, head

Act = Callable[[Exchange], None]
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: in words.
        act: answers a request wrongly.
        retried: whether the client is to try again, so that a fault that passes goes unnoticed;
            None where either is right.
        needs_index: only for shapes whose items say which input they answer.
        only: only for what this kind of model answers.
    """

    name: str
    act: Act
    retried: bool | None = False
    needs_index: bool = False
    only: Kind | None = None

    def __str__(self) -> str:
        return self.name


# The way to the server and back


def delay(seconds: float) -> Act:
    """Answer rightly, but late."""

    def act(exchange: Exchange) -> None:
        exchange.wait(seconds)
        exchange.send(exchange.answer())

    return act


def random_delay(most: float, seed: int = 0) -> Act:
    """Answer rightly after a while that differs from request to request."""
    chance = random.Random(seed)

    def act(exchange: Exchange) -> None:
        exchange.wait(chance.uniform(0, most))
        exchange.send(exchange.answer())

    return act


def reset(exchange: Exchange) -> None:
    """Reset the connection instead of answering."""
    exchange.reset()


def close(exchange: Exchange) -> None:
    """Close the connection instead of answering."""
    exchange.close()


def cut_body(exchange: Exchange) -> None:
    """Close the connection in the middle of the answer."""
    body = json.dumps(exchange.answer().payload).encode()
    headers = {"Content-Type": JSON, "Content-Length": str(len(body))}
    exchange.write(head(200, headers) + body[: len(body) // 2])
    exchange.close()


# What it says


def status(
    code: int, *, retry_after: float | None = None, as_date: bool = False, message: str = "busy"
) -> Act:
    """Answer with a status, in the engine's own shape of an error."""

    def act(exchange: Exchange) -> None:
        reply = exchange.failure(code, message)
        if retry_after is not None:
            seconds = format(retry_after, "g")
            date = formatdate(time.time() + retry_after, usegmt=True)
            reply.headers["Retry-After"] = date if as_date else seconds
        exchange.send(reply)

    return act


def malformed_json(exchange: Exchange) -> None:
    """Answer with something that only begins as JSON."""
    body = json.dumps(exchange.answer().payload).encode()
    exchange.send_bytes(body[: len(body) * 2 // 3] + b"}}]")


def wrong_content_type(exchange: Exchange) -> None:
    """Answer as a portal does that stands in between: a page, with status 200."""
    exchange.send_bytes(
        b"<!doctype html><title>Sign in</title>", headers={"Content-Type": "text/html"}
    )


def wrong_shape(exchange: Exchange) -> None:
    """Answer with JSON that has nothing of what was asked for."""
    exchange.send(Reply(200, {"detail": "welcome"}))


def empty_body(exchange: Exchange) -> None:
    """Answer with nothing."""
    exchange.send_bytes(b"")


def _edited(edit: Callable[[list[Any]], list[Any]]) -> Act:
    def act(exchange: Exchange) -> None:
        reply = exchange.answer()
        items = items_of(reply.payload)
        items[:] = edit(items)
        exchange.send(reply)

    return act


reordered = _edited(lambda items: [*items[1:], *items[:1]])
dropped = _edited(lambda items: items[:-1])
duplicated = _edited(lambda items: [*items[:-1], items[0]])
extra = _edited(lambda items: [*items, items[0]])
none_at_all = _edited(lambda _: [])


def index_out_of_range(exchange: Exchange) -> None:
    """Answer with a place that no input has."""
    _edited(lambda items: [{**items[0], _index(items[0]): len(items) + 7}, *items[1:]])(exchange)


def negative_index(exchange: Exchange) -> None:
    """Answer with a place that a list would take from its end."""
    _edited(lambda items: [*items[:-1], {**items[-1], _index(items[-1]): -1}])(exchange)


def index_as_text(exchange: Exchange) -> None:
    """Answer with a place that is no number."""
    _edited(lambda items: [{**items[0], _index(items[0]): "0"}, *items[1:]])(exchange)


def _index(item: Any) -> str:
    name = index_name(item)
    assert name is not None
    return name


def _first_numbers(change: Callable[[list[Number]], list[Number]]) -> Act:
    return _edited(lambda items: [changed(items[0], change), *items[1:]])


nan = _first_numbers(lambda row: [math.nan, *row[1:]])
infinity = _first_numbers(lambda row: [-math.inf, *row[1:]])
null = _first_numbers(lambda row: [None, *row[1:]])
text_for_number = _first_numbers(lambda row: ["0.5", *row[1:]])  # type: ignore[list-item]
wrong_width = _first_numbers(lambda row: row[:-1])
every_width = _edited(lambda items: [changed(item, lambda row: row[:-5]) for item in items])
no_number = _first_numbers(lambda _: [])
unnormalised = _edited(
    lambda items: [
        changed(item, lambda row: [None if v is None else v * 3.0 for v in row]) for item in items
    ]
)
out_of_unit = _first_numbers(lambda row: [7.5, *row[1:]])


# A server that means harm


def endless_body(exchange: Exchange) -> None:
    """Send numbers for ever."""
    exchange.write(head(200, {"Content-Type": JSON, "Connection": "close"}) + b'{"data":[[')
    exchange.drip(itertools.repeat(b"0.125," * 20_000))


def endless_chunks(exchange: Exchange) -> None:
    """The same in chunks."""
    exchange.write(head(200, {"Content-Type": JSON, "Transfer-Encoding": "chunked"}))
    piece = b"0.125," * 20_000
    exchange.drip(itertools.repeat(b"%x\r\n%s\r\n" % (len(piece), piece)))


def promised_gigabytes(exchange: Exchange) -> None:
    """Announce a terabyte, and begin with it."""
    exchange.write(head(200, {"Content-Type": JSON, "Content-Length": str(1 << 40)}))
    exchange.drip(itertools.repeat(b" " * 100_000))


def gzip_bomb(exchange: Exchange) -> None:
    """Send a few hundred kilobytes that unpack to hundreds of megabytes."""
    exchange.send_bytes(bomb(), headers={"Content-Encoding": "gzip"})


@cache
def bomb() -> bytes:
    """Return gzip of 512 MiB of blanks."""
    blank = gzip.compress(b" " * (64 * MEBIBYTE), compresslevel=9)
    return blank * 8  # gzip members one after the other unpack to all of them: 512 MiB


def gzip_bomb_in_an_error(exchange: Exchange) -> None:
    """The same with a status that makes the client read the message."""
    exchange.send_bytes(bomb(), status=400, headers={"Content-Encoding": "gzip"})


def dripping_body(exchange: Exchange) -> None:
    """Send the right answer, a byte now and then, so that no read ever times out."""
    body = json.dumps(exchange.answer().payload).encode()
    exchange.write(head(200, {"Content-Type": JSON, "Content-Length": str(len(body))}))
    exchange.drip((body[n : n + 1] for n in range(len(body))), 0.03)


def dripping_header(exchange: Exchange) -> None:
    """The same with the header."""
    lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Wait: " + b"a" * 100_000
    exchange.drip((lines[n : n + 1] for n in range(len(lines))), 0.03)


def endless_header(exchange: Exchange) -> None:
    """Send header lines for ever."""

    def lines() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        for n in itertools.count():
            yield b"X-%d: %s\r\n" % (n, b"a" * 1000) * 20

    exchange.drip(lines())


def enormous_header(exchange: Exchange) -> None:
    """Send one header line of 64 MiB."""
    exchange.write(b"HTTP/1.1 200 OK\r\nX-Large: ")
    exchange.drip(itertools.repeat(b"a" * 65536, 1024))
    exchange.write(b"\r\nContent-Length: 2\r\n\r\n{}")


def deep_json(exchange: Exchange) -> None:
    """Nest lists deeper than any parser's stack."""
    exchange.send_bytes(b"[" * 200_000)


def enormous_number(exchange: Exchange) -> None:
    """Send a whole number of a hundred thousand digits."""
    exchange.send_bytes(b'{"data":[{"index":' + b"9" * 100_000 + b',"embedding":[1.0]}]}')


def wrong_encoding(exchange: Exchange) -> None:
    """Send bytes that are no UTF-8."""
    exchange.send_bytes(b'{"data":"\xff\xfe\xfa"}')


def echo_of_the_key(exchange: Exchange) -> None:
    """Repeat the request's key in the message of an error, as careless proxies do."""
    key = exchange.recorded.headers.get("authorization", "")
    exchange.send(exchange.failure(400, f"cannot serve a request with {key}"))


def redirect(location: str, code: int = 307) -> Act:
    """Send the client to another address."""

    def act(exchange: Exchange) -> None:
        exchange.send(Reply(code, None, {"Location": location + exchange.recorded.path}))

    return act


FAULTS = (
    Fault("late, within the timeout", delay(0.1)),
    Fault("no answer within the timeout", delay(30)),
    Fault("connection reset", reset, retried=True),
    Fault("connection closed", close, retried=True),
    Fault("body cut", cut_body, retried=True),
    Fault("429", status(429), retried=True),
    Fault("429, Retry-After in seconds", status(429, retry_after=1), retried=True),
    Fault(
        "429, Retry-After as a date",
        status(429, retry_after=1.5, as_date=True),
        retried=True,
    ),
    Fault("429, Retry-After an hour", status(429, retry_after=3600)),
    Fault("503", status(503), retried=True),
    Fault("503, Retry-After in seconds", status(503, retry_after=0), retried=True),
    Fault("424", status(424), retried=None),
    Fault("500", status(500), retried=None),
    Fault("502", status(502), retried=None),
    Fault("504", status(504), retried=None),
    Fault("400", status(400)),
    Fault("401", status(401)),
    Fault("403", status(403)),
    Fault("404", status(404)),
    Fault("malformed JSON", malformed_json, retried=None),
    Fault("a page instead of JSON", wrong_content_type, retried=None),
    Fault("JSON of another shape", wrong_shape, retried=None),
    Fault("empty body", empty_body, retried=None),
    Fault("items reordered", reordered, needs_index=True),
    Fault("an item dropped", dropped, retried=None),
    Fault("an item twice, another missing", duplicated, retried=None, needs_index=True),
    Fault("an item too many", extra, retried=None),
    Fault("no item", none_at_all, retried=None),
    Fault("index out of range", index_out_of_range, retried=None, needs_index=True),
    Fault("negative index", negative_index, retried=None, needs_index=True),
    Fault("index that is text", index_as_text, retried=None, needs_index=True),
    Fault("NaN", nan, retried=None),
    Fault("infinity", infinity, retried=None),
    Fault("null", null, retried=None),
    Fault("text for a number", text_for_number, retried=None),
    Fault("a vector too short", wrong_width, retried=None, only="embedder"),
    Fault("every vector too short", every_width, retried=None, only="embedder"),
    Fault("vectors not normalised", unnormalised, only="embedder"),
    Fault("a score outside 0 to 1", out_of_unit, retried=None, only="reranker"),
    # Last, since a client remembers how much a server takes.
    Fault("413", status(413), retried=None),
    Fault("422", status(422), retried=None),
)
"""What the table shows, in its order."""

GOES_WELL = frozenset({"late, within the timeout", "items reordered", "vectors not normalised"})
"""Faults that the client mends by itself, without another try."""

HOSTILE = (
    Fault("endless body", endless_body),
    Fault("endless body in chunks", endless_chunks),
    Fault("a terabyte announced", promised_gigabytes),
    Fault("gzip bomb", gzip_bomb),
    Fault("gzip bomb in an error", gzip_bomb_in_an_error),
    Fault("dripping body", dripping_body),
    Fault("dripping header", dripping_header),
    Fault("endless header", endless_header),
    Fault("enormous header", enormous_header),
    Fault("deeply nested JSON", deep_json),
    Fault("enormous number", enormous_number),
    Fault("bytes that are no UTF-8", wrong_encoding),
)


def applies(fault: Fault, kind: Kind, *, indexed: bool) -> bool:
    """Say whether a fault can happen to answers of this kind and shape."""
    return fault.only in {None, kind} and (indexed or not fault.needs_index)
