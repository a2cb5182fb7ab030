"""What may cross between a program and its tests: plain data as JSON, never objects, code or references.

Plain data: None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, and Decimal,
Fraction, date, datetime, timedelta. A subclass arrives as its base, so that no method of the program's (an
``__eq__`` that always says yes) reaches a test.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

#: Largest message, bytes: what a program answers to one call fits, or the call fails.
MOST_BYTES = 8 << 20
_EXACT_IN_JSON = 1 << 62

_ENCODERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    complex: ("complex", lambda v: [v.real, v.imag]),
    bytes: ("bytes", lambda v: v.hex()),
    bytearray: ("bytearray", lambda v: v.hex()),
    Decimal: ("decimal", str),
    Fraction: ("fraction", lambda v: [str(v.numerator), str(v.denominator)]),
    datetime: ("datetime", lambda v: v.isoformat()),
    date: ("date", lambda v: v.isoformat()),
    timedelta: ("timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    tuple: ("tuple", lambda v: [encode(x) for x in v]),
    set: ("set", lambda v: [encode(x) for x in v]),
    frozenset: ("frozenset", lambda v: [encode(x) for x in v]),
    dict: ("dict", lambda v: [[encode(k), encode(x)] for k, x in v.items()]),
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda v: int(v, 16),
    "complex": lambda v: complex(*v),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "decimal": Decimal,
    "fraction": lambda v: Fraction(int(v[0]), int(v[1])),
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "timedelta": lambda v: timedelta(*v),
    "tuple": lambda v: tuple(decode(x) for x in v),
    "set": lambda v: {decode(x) for x in v},
    "frozenset": lambda v: frozenset(decode(x) for x in v),
    "dict": lambda v: {decode(k): decode(x) for k, x in v},
}


class NotPlain(Exception):
    """A value that cannot cross; the message names its type."""


def encode(value: Any) -> Any:
    """A value as JSON: numbers, texts, lists as they are, others as ``{kind: content}``. Raises NotPlain."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # As hexadecimal where JSON's reader may lose digits; Python refuses long decimals, not hexadecimals.
        return int(value) if -_EXACT_IN_JSON < value < _EXACT_IN_JSON else {"int": f"{int(value):x}"}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [encode(item) for item in value]
    for kind, (name, content) in _ENCODERS.items():
        if isinstance(value, kind):
            return {name: content(value)}
    raise NotPlain(type(value).__name__)


def decode(value: Any) -> Any:
    """The value behind ``encode``'s JSON; raises ValueError, TypeError or KeyError where it is none."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        return _DECODERS[kind](content)
    return value


def send(channel: socket.socket, message: Any) -> None:
    """Sends one message, four bytes of length before it; raises NotPlain where it is too long."""
    data = json.dumps(message).encode()
    if len(data) > MOST_BYTES:
        raise NotPlain(f"more than {MOST_BYTES >> 20} MiB")
    channel.sendall(struct.pack("!I", len(data)) + data)


def receive(channel: socket.socket) -> Any:
    """The next message; raises EOFError at the end and ValueError where it is longer than any sent."""
    (length,) = struct.unpack("!I", _exactly(channel, 4))
    if length > MOST_BYTES:
        raise ValueError("a message longer than is allowed")
    return json.loads(_exactly(channel, length))


def _exactly(channel: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = channel.recv(min(length - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
