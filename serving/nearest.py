"""Approximate retrieval for catalogues that are too large to be ranked whole for every request: an index over a published version's items.

The model gives the user's vector, and what the history recalls; the index (faiss, inverted lists with 8-bit vectors, inner product) gives
the places near it, and their scores are computed anew from the exact vectors: what is approximate is who is a candidate, never a score.
"""

import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.signatures import ITEM_IDS_FILE, ITEM_VECTORS_FILE

PROBED = 96  # inverted lists read for a question
OVERFETCH = 2  # candidates of the index for every one wanted: its vectors are rounded to 8 bits
TRAINED_ON = 64  # vectors a list, drawn by seed
SEED = 7
ALIGNED = 16
LARGE_LISTS = 16_384

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NearestItems:
    """The items of one version: `vectors` `(items, dim + 1)`, exact, the items' bias the last column, and the index of them."""

    item_ids: list[str]
    places: dict[str, int]
    vectors: np.ndarray
    index: Any

    def search(self, vector: np.ndarray, count: int) -> np.ndarray:
        """Places of about the `count` items with the greatest inner product with `vector` `(dim + 1,)`, in no certain order."""
        import faiss

        lists = max(PROBED, _lists_for(count, len(self.item_ids), self.index.nlist))
        probed = faiss.SearchParametersIVF(nprobe=lists)  # type: ignore[call-arg]
        _, found = self.index.search(_padded(vector[None]), min(OVERFETCH * count, len(self.item_ids)), params=probed)
        return found[0][found[0] >= 0]

    def best(self, vector: np.ndarray, recalled: dict[str, float], excluded: set[str], count: int) -> tuple[list[str], np.ndarray]:
        """The `count` best candidates by exact score, with those that the history recalls among them: ids and scores by falling score."""
        own = [place for item in recalled if (place := self.places.get(item, -1)) >= 0]
        near = self.search(vector, count + len(excluded))
        found = np.unique(np.concatenate([near, np.array(own, near.dtype)]))
        scores = (self.vectors[found] @ vector).astype(np.float64)
        added = [(index, recalled[item]) for index, place in enumerate(found.tolist()) if (item := self.item_ids[place]) in recalled]
        if added:
            scores[[index for index, _ in added]] += [score for _, score in added]
        if gone := [index for index, place in enumerate(found.tolist()) if self.item_ids[place] in excluded]:
            scores[gone] = -np.inf
        order = np.argsort(-scores, kind="stable")[:count]
        order = order[np.isfinite(scores[order])]
        return [self.item_ids[place] for place in found[order]], scores[order]


def build(vectors: np.ndarray, threads: int = 1) -> Any:
    """The index of `(items, dim)` vectors."""
    import faiss

    items, dim = len(vectors), _padded(vectors[:1]).shape[1]
    lists = int(min(LARGE_LISTS, max(1, 4 * items**0.5)))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dim), dim, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    chosen = np.sort(np.random.default_rng(SEED).choice(items, min(items, TRAINED_ON * lists), replace=False))
    faiss.omp_set_num_threads(threads)
    try:
        index.train(_padded(vectors[chosen]))
        for start in range(0, items, 65_536):
            index.add(_padded(vectors[start : start + 65_536]))
    finally:
        faiss.omp_set_num_threads(1)  # one request, one thread
    return index


def open_index(folder: Path, kept: Path) -> NearestItems:
    """The index of the SavedModel in `folder`: read from the file `kept`, or built and kept there."""
    import faiss

    item_ids = json.loads((folder / ITEM_IDS_FILE).read_text(encoding="utf-8"))
    vectors = np.load(folder / ITEM_VECTORS_FILE, mmap_mode="r")
    if kept.exists():
        index = faiss.read_index(str(kept))
    else:
        index = build(vectors)
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(".tmp")
        faiss.write_index(index, str(beside))
        beside.replace(kept)
    faiss.omp_set_num_threads(1)
    return NearestItems(item_ids, dict(zip(item_ids, range(len(item_ids)), strict=True)), vectors, index)


class Indexes:
    """The indexes of a model's published versions, opened beside the requests: until one is there, the model ranks exactly."""

    def __init__(self, models: Path, kept: Path) -> None:
        self._models, self._kept = models, kept
        self._open: dict[tuple[str, int], NearestItems | None] = {}
        self._lock = threading.Lock()

    def of(self, model: str, version: int) -> NearestItems | None:
        """The index of a version; None where the version has no vectors beside it, being small, and while it is being opened."""
        key = (model, version)
        if key in self._open:
            return self._open[key]
        with self._lock:
            if key in self._open:
                return self._open[key]
            self._open[key] = None
        folder = self._models / model / str(version)
        if (folder / ITEM_VECTORS_FILE).exists():
            threading.Thread(target=self._opening, args=(key, folder), name=f"index of {model} {version}", daemon=True).start()
        return None

    def _opening(self, key: tuple[str, int], folder: Path) -> None:
        try:
            self._open[key] = open_index(folder, self._kept / f"{key[0]}-{key[1]}.faiss")
        except Exception:
            log.exception("No index over the items of %s version %d: the model ranks them all", *key)


def _padded(rows: np.ndarray) -> np.ndarray:
    """Rows with zeros up to a multiple of `ALIGNED` numbers: of other lengths faiss decodes one number at a time."""
    return np.ascontiguousarray(np.pad(rows, [(0, 0), (0, -rows.shape[1] % ALIGNED)]), np.float32)


def _lists_for(count: int, items: int, lists: int) -> int:
    """Lists that hold four times so many items on average."""
    return min(lists, -(-4 * count * lists // max(1, items)))
