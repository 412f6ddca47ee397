"""Which item vectors find what is bought together, written to `docs/benchmarks.md`: `python -m benchmarks.text`.

Every way is fitted on what was known at a cut-off and asked for the 10 nearest items (cosine) of an item. *Online Retail* (titles): the
items it was ordered with after the cut-off, those of the 10 highest cosines of co-occurrence with two orders together or more; recall@10
over items, new ones (first sold after the cut-off) also on their own. *Amazon Beauty* (attributes as words; only the order of a user's
purchases is known): is a user's next, held-out item among the neighbours of the one before it; hit rate@10 over users.
Validation (Online Retail: September and October after a fit to August; Beauty: the last item but one) chooses the default; test (November
and December after a fit to October; the last item) is only reported. Histories are a user's newest 50 purchases, as the feature store
publishes them. Limits: a title is the most frequent description of the whole file, for old and new items alike.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.page import circumstances, write_part
from feature_repo.text import fused
from feature_repo.text.company import company_vectors, item2vec
from feature_repo.text.spectrum import SEED, unit
from feature_repo.text.tokens import tokens
from feature_repo.text.words import Documents, WeightedWords, tfidf_svd, word2vec
from settings import ROOT
from sources import amazon_sequences, online_retail

DATA = ROOT.parent / "shared" / "data"
RESULT = ROOT / "var" / "benchmarks" / "text.json"
NEIGHBOURS = 10
HISTORY = 50
DIM = 64


class Task(NamedTuple):
    """Documents, `(items,)`; `is_known`, `(items,)`; histories, `(users, items)`; pairs asked: item, and the items to be found."""

    documents: Documents
    is_known: np.ndarray
    histories: sp.csr_matrix
    asked: np.ndarray
    wanted: list[set[int]]
    is_new: np.ndarray


def fused_vectors(task: Task) -> np.ndarray:
    """As `feature_repo.text.publish` does: fitted on what is known, then asked for all."""
    ids = [str(number) for number in range(len(task.documents))]
    known = np.flatnonzero(task.is_known)
    model = fused.fit([ids[n] for n in known], [task.documents[n] for n in known], task.histories[:, known])
    return model.vectors(ids, task.documents)


def known_documents(task: Task) -> Documents:
    return [document for document, known in zip(task.documents, task.is_known, strict=True) if known]


def bag_of_words(task: Task) -> np.ndarray:
    words = WeightedWords.fit(task.documents)
    counts = words.matrix(task.documents)
    return unit((counts > 0).astype(float).toarray())


METHODS: dict[str, Callable[[Task], np.ndarray]] = {
    "random": lambda task: np.random.default_rng(SEED).normal(size=(len(task.documents), DIM)),
    "bag of words": bag_of_words,
    "TF-IDF, all words": lambda task: WeightedWords.fit(known_documents(task)).matrix(task.documents).toarray(),
    "TF-IDF, SVD": lambda task: tfidf_svd(task.documents, known_documents(task), fused.SHARE, fused.CAP),
    "Word2Vec, words": lambda task: word2vec(task.documents, known_documents(task), DIM),
    "item2vec, histories": lambda task: item2vec(task.histories, DIM),
    "PPMI, SVD, histories": lambda task: company_vectors(task.histories, fused.SHARE, fused.CAP),
    fused.METHOD: fused_vectors,
}


def hits(vectors: np.ndarray, task: Task) -> np.ndarray:
    """Share of what was wanted among the 10 nearest of each item asked, `(asked,)`; a vector of zeros finds nothing."""
    near = unit(np.asarray(vectors, dtype=np.float32))
    found = np.zeros(len(task.asked))
    for place in range(0, len(task.asked), 1000):
        rows = task.asked[place : place + 1000]
        scores = near[rows] @ near.T
        scores[np.arange(len(rows)), rows] = -np.inf
        for offset, best in enumerate(np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]):
            if near[rows[offset]].any():
                wanted = task.wanted[place + offset]
                found[place + offset] = len(wanted.intersection(best.tolist())) / min(NEIGHBOURS, len(wanted))
    return found


def retail_task(cut: str, end: str) -> Task:
    """Online Retail, fitted before `cut`, asked about `[cut, end)`."""
    tables = online_retail.read(DATA / "online_retail", SEED, {})
    items = tables["items"].to_pandas()
    events = tables["events"].to_pandas().query("event_type == 'purchase'")
    titles = items[items["in_stock"].isna() & items["title"].notna()].set_index("item_id")["title"]
    events = events[events["item_id"].isin(titles.index) & (events["occurred_at"] < end)]
    first = events.groupby("item_id")["occurred_at"].min().sort_index()
    is_known = (first < cut).to_numpy()
    events = events.assign(item=np.searchsorted(first.index.to_numpy(), events["item_id"]))
    before = events[(events["occurred_at"] < cut) & events["user_id"].notna()].sort_values(["user_id", "occurred_at"], kind="stable")
    after = events[events["occurred_at"] >= cut]
    wanted = _neighbours(_incidence(after["order_id"], after["item"], len(first)))
    asked = np.array(sorted(wanted))
    histories = before.groupby("user_id").tail(HISTORY)
    return Task(
        [tokens(titles[item]) for item in first.index],
        is_known,
        _incidence(histories["user_id"], histories["item"], len(first)),
        asked,
        [wanted[item] for item in asked],
        ~is_known[asked],
    )


def beauty_task(held_out: int) -> Task:
    """Amazon Beauty without every user's last `held_out` purchases, asked for the first of these."""
    tables = amazon_sequences.read(DATA / "amazon_beauty", SEED, {})
    attributes = tables["item_attributes"].to_pandas().groupby("item_id")["value"].agg(list)
    items = tables["items"]["item_id"].to_pylist()
    places = {item: place for place, item in enumerate(items)}
    events = tables["events"].to_pandas().sort_values(["user_id", "occurred_at"], kind="stable")
    sequences = events.assign(item=events["item_id"].map(places)).groupby("user_id")["item"].agg(list)
    before = sequences.map(lambda bought: bought[:-held_out])
    long = before.map(lambda bought: bought[-HISTORY:]).explode()
    histories = _incidence(long.index.to_series(), long.astype(int), len(items))
    is_known = np.isin(np.arange(len(items)), before.explode().astype(int))
    wanted = sequences.map(lambda bought: bought[-held_out]).to_numpy()
    documents = [[f"attribute={value}" for value in attributes.get(item, [])] for item in items]
    return Task(documents, is_known, histories, before.str[-1].to_numpy(), [{item} for item in wanted], ~is_known[wanted])


def _incidence(groups: pd.Series, items: pd.Series, width: int) -> sp.csr_matrix:
    """Ones where an item stands in a group of 2 to 200 items, `(groups, width)`."""
    pairs = pd.DataFrame({"group": groups.to_numpy(), "item": items.to_numpy()}).drop_duplicates()
    sizes = pairs.groupby("group")["item"].transform("size")
    pairs = pairs[sizes.between(2, 200)]
    rows = pairs["group"].astype("category").cat.codes.to_numpy()
    return sp.csr_matrix((np.ones(len(pairs)), (rows, pairs["item"])), shape=(rows.max() + 1, width))


def _neighbours(orders: sp.csr_matrix) -> dict[int, set[int]]:
    together = (orders.T @ orders).tocsr()
    sold = together.diagonal()
    wanted = {}
    for item in range(together.shape[0]):
        others, counts = together[item].indices, together[item].data
        keep = (counts >= 2) & (others != item)
        closeness = counts[keep] / np.sqrt(sold[others[keep]] * sold[item])
        if keep.any():
            wanted[item] = set(others[keep][np.lexsort((others[keep], -closeness))][:NEIGHBOURS].tolist())
    return wanted


def tasks() -> Iterator[tuple[str, Task]]:
    yield "Online Retail, validation", retail_task("2011-09-01", "2011-11-01")
    yield "Online Retail, test", retail_task("2011-11-01", "2011-12-10")
    yield "Beauty, validation", beauty_task(2)
    yield "Beauty, test", beauty_task(1)


def table(result: dict) -> str:
    names = list(result["tasks"])
    lines = ["| | " + " | ".join(f"{name} | new" for name in names) + " | seconds |", "| --- |" + " --- |" * (2 * len(names) + 1)]
    for method in METHODS:
        cells = [f"{rows[method]['all']:.4f} | {rows[method]['new']:.4f}" for rows in result["tasks"].values()]
        seconds = sum(rows[method]["seconds"] for rows in result["tasks"].values())
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {seconds:.1f} |")
    counts = "; ".join(
        f"{name}: {n['asked']:,} asked, {n['new']:,} of them new, {n['items']:,} items" for name, n in result["counts"].items()
    )
    return "\n".join(
        [
            "## Item vectors: do neighbours get bought together?",
            "",
            f"`python -m benchmarks.text`, {result['date']}, {result['machine']}, {result['seconds']:.0f} s, seed {SEED}. Online Retail:",
            "recall@10 of the closest items of the following orders; Beauty: hit rate@10 of the next purchase; *new*: only for new items",
            "(Beauty: new items to be found).",
            f"{counts}. The default is the best on validation, by the sum over both sets of its figure over the best one's:",
            f"**{result['winner']}**.",
            "",
            *lines,
        ]
    )


def main() -> None:
    began = time.perf_counter()
    measured: dict[str, dict] = {}
    counts = {}
    for name, task in tasks():
        counts[name] = {"asked": len(task.asked), "new": int(task.is_new.sum()), "items": len(task.documents)}
        measured[name] = {}
        for method, vectors in METHODS.items():
            start = time.perf_counter()
            made = vectors(task)
            seconds = time.perf_counter() - start
            found = hits(made, task)
            measured[name][method] = {"all": float(found.mean()), "new": float(found[task.is_new].mean()), "seconds": seconds}
            print(f"{name}: {method} {found.mean():.4f}, new {found[task.is_new].mean():.4f}, {seconds:.1f} s", flush=True)
    validation = [rows for name, rows in measured.items() if name.endswith("validation")]
    relative = {method: sum(rows[method]["all"] / max(row["all"] for row in rows.values()) for rows in validation) for method in METHODS}
    result = {
        **circumstances(),
        "seconds": time.perf_counter() - began,
        "winner": max(relative, key=relative.__getitem__),
        "counts": counts,
        "tasks": measured,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1))
    write_part("text", table(result))


if __name__ == "__main__":
    main()
