"""A keyed hash of strings that numpy code and the exported graph agree on: SipHash-2-4, TensorFlow's `string_to_hash_bucket_strong`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

KEY = (0x9E3779B97F4A7C15, 0x2545F4914F6CDD1D)
_MASK = (1 << 64) - 1


def buckets_of(texts: Iterable[str], buckets: int) -> np.ndarray:
    """The bucket of each text, `(texts,)` int32 in `0 .. buckets - 1`."""
    return np.array([siphash(text.encode()) % buckets for text in texts], np.int32)


def siphash(data: bytes) -> int:
    """64 bits of `data` under `KEY` (Aumasson & Bernstein 2012)."""
    first, second = KEY
    v = [first ^ 0x736F6D6570736575, second ^ 0x646F72616E646F6D, first ^ 0x6C7967656E657261, second ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= word
        _mix(v)
        _mix(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(4):
        _mix(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _mix(v: list[int]) -> None:
    v[0] = (v[0] + v[1]) & _MASK
    v[1] = _turned(v[1], 13) ^ v[0]
    v[0] = _turned(v[0], 32)
    v[2] = (v[2] + v[3]) & _MASK
    v[3] = _turned(v[3], 16) ^ v[2]
    v[0] = (v[0] + v[3]) & _MASK
    v[3] = _turned(v[3], 21) ^ v[0]
    v[2] = (v[2] + v[1]) & _MASK
    v[1] = _turned(v[1], 17) ^ v[2]
    v[2] = _turned(v[2], 32)


def _turned(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK
