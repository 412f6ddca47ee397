"""Places that are drawn, so that the shop learns of more than what its model already prefers; every draw says its chance.

Several draws without replacement are the Plackett-Luce model: the chance of a list is the product of the chances of its places, each given
the places above it. A request's draws are seeded by its id, so that a retry shows the same list.
"""

import hashlib

import numpy as np


def generator_of(request_id: str) -> np.random.Generator:
    """The same draws for the same request."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(request_id.encode("utf-8", "surrogatepass")).digest()[:16], "big"))


def drawn(scores: np.ndarray, temperature: float, generator: np.random.Generator) -> tuple[int, float]:
    """An index drawn with chances softmax(scores / temperature), and its chance."""
    chances = softmax(scores, temperature)
    ends = np.cumsum(chances)
    place = min(int(np.searchsorted(ends, generator.random() * ends[-1], side="right")), len(chances) - 1)
    return place, float(chances[place])


def softmax(scores: np.ndarray, temperature: float) -> np.ndarray:
    raised = np.exp((scores - scores.max()) / temperature)
    return raised / raised.sum()
