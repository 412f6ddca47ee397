"""What a whole recommendation costs beside the bare model call, what variety costs in accuracy, and retrieval among a million items:
`python -m benchmarks.recommendations [speed] [large] [variety] [million]`; writes its part of `docs/benchmarks.md`.

* speed: at 20,000 items, in one run and turn by turn, the bare model call over gRPC and the whole request (features from the online store,
  model, rules, variety; reasons excluded); then requests at a rate, by Poisson arrivals, each timed from when it was due.
* large: at 250,000 items, above what the model ranks for every request, the same by the index, and how much of the exact list it gives.
* variety: NDCG@10 on held-out next items of the simulated shop and the likeness within lists, by `diversity`.
* million: recall and time of the index over 1,000,000 x 128 clustered vectors, against exact search on the same vectors.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import circumstances, write_part
from benchmarks.recommendation_house import DIM, SEED, USERS, clustered, house
from benchmarks.recommendation_page import page

ITEMS, PAIRS, RATE_SECONDS, RATES, WORKERS = 20_000, 1500, 12, (50, 100, 200, 300), 16
DIVERSITIES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
LARGE, LARGE_PAIRS = 250_000, 300
MILLION, ASKED = 1_000_000, 1000
KEPT = Path(tempfile.gettempdir()) / "portrait-recommendations.json"  # parts measured before, for a page of all


def speed(items: int = ITEMS) -> dict[str, Any]:
    import psutil

    with tempfile.TemporaryDirectory(prefix="portrait-recommendations-") as folder, house(Path(folder), items) as server:
        from serving.model_inputs import history_inputs
        from serving.recommend import recommend
        from serving.shop_front import ShopFront
        from training.signatures import RECOMMENDER

        shop = ShopFront()
        users = [f"u{number}" for number in np.random.default_rng(SEED).permutation(USERS)]

        def question(user: str) -> dict[str, np.ndarray]:
            row = shop.user_row(RECOMMENDER.feature_service, user)
            had = [item for item, kind in zip(row["event_item_ids"], row["event_types"], strict=True) if kind == "purchase"]
            asked = {"exclude_item_ids": np.array([had or [""]], object), "k": np.array([10], np.int32)}
            return history_inputs([row], shop.clock()) | asked

        def bare(inputs: dict[str, np.ndarray]) -> Any:
            return shop.models.predict(RECOMMENDER.name, inputs)

        for user in users[:50]:
            bare(question(user))
            assert recommend(user, shop=shop).source == "model"
        times: dict[str, list[float]] = {"bare model call": [], "whole request": []}
        for user in users[:PAIRS]:
            inputs = question(user)
            times["bare model call"].append(timed(lambda inputs=inputs: bare(inputs)))
            times["whole request"].append(timed(lambda user=user: recommend(user, shop=shop)))
        result: dict[str, Any] = {
            "one": {name: percentiles(values) for name, values in times.items()},
            "items": items,
            "pairs": PAIRS,
            "load": os.getloadavg()[0],
            "rates": [],
        }
        prepared = [question(user) for user in users[:500]]
        calls: dict[str, Callable[[int], str]] = {
            "bare model call": lambda number: "model" if bare(prepared[number % len(prepared)]) else "",
            "whole request": lambda number: recommend(users[number % USERS], shop=shop).source,
        }
        processes = {"model server": psutil.Process(server.pid), "consumer": psutil.Process()}
        for rate in RATES:
            for name, ask in calls.items():
                before = {who: sum(process.cpu_times()[:2]) for who, process in processes.items()}
                taken, sources = at_rate(rate, ask)
                used = {who: (sum(process.cpu_times()[:2]) - before[who]) / RATE_SECONDS for who, process in processes.items()}
                row = {"rate": rate, "what": name, **percentiles(taken), "by model": sources.count("model") / len(sources), "cores": used}
                result["rates"].append(row)
                print(row, flush=True)
        return result


def large(items: int = LARGE) -> dict[str, Any]:
    """Milliseconds of the exact ranking and of the whole request by the index, and the share of the exact lists of ten that it gives."""
    with tempfile.TemporaryDirectory(prefix="portrait-recommendations-") as folder, house(Path(folder), items):
        from serving.recommend import recommend
        from serving.shop_front import ShopFront
        from training.signatures import RECOMMENDER

        shop = ShopFront()
        patient = replace(shop.rules(), deadline_ms=10_000.0, diversity=0.0)
        shop.rules = lambda: patient  # type: ignore[method-assign]
        users = [f"u{number}" for number in range(LARGE_PAIRS)]
        begun = time.perf_counter()
        assert recommend(users[0], shop=shop).source == "model"  # from now on the version is known, and its index is built
        while shop.nearest(RECOMMENDER.name) is None:
            time.sleep(0.5)
        built = time.perf_counter() - begun
        near: list[Any] = []
        by_index = [timed(lambda user=user: near.append(recommend(user, shop=shop))) for user in users]
        shop.nearest = lambda *_: None  # type: ignore[method-assign, assignment, return-value]
        exact: list[Any] = []
        taken = [timed(lambda user=user: exact.append(recommend(user, shop=shop))) for user in users]
        assert {answer.source for answer in exact + near} == {"model"}
        lists = [[{place.card.item_id for place in answer.items} for answer in answers] for answers in (exact, near)]
        shares = [len(one & other) / len(one) for one, other in zip(*lists, strict=True)]
        times = {"whole request, ranked by the model": percentiles(taken), "whole request, by the index": percentiles(by_index)}
        return {"items": items, "users": len(users), "times": times, "share": float(np.mean(shares)), "built": built}


def at_rate(rate: float, ask: Callable[[int], str]) -> tuple[list[float], list[str]]:
    """Milliseconds of every request from when it was due, and what each answered: arrivals as a Poisson process, by seed."""
    due = np.cumsum(np.random.default_rng(SEED).exponential(1 / rate, int(rate * RATE_SECONDS)))
    taken, sources, lock = [], [], threading.Lock()
    begun = time.perf_counter()

    def one(number: int) -> None:
        source = ask(number)
        passed = 1000 * (time.perf_counter() - begun - due[number])
        with lock:
            taken.append(passed)
            sources.append(source)

    with ThreadPoolExecutor(WORKERS) as pool:
        for number, at in enumerate(due):
            if (wait := at - (time.perf_counter() - begun)) > 0:
                time.sleep(wait)
            pool.submit(one, number)
    return taken, sources


def variety() -> dict[str, Any]:
    """By diversity: NDCG@10 and HR@10 of held-out next items, likeness within lists and top-level categories in them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.interests import shop_records
    from serving.rerank import Pool, arrange
    from serving.rules import Rules
    from training import splits
    from training.catalogue import content_of
    from training.encoder import train_encoder_network
    from training.encoder_config import EncoderConfig
    from training.evaluation import event_counts

    with tempfile.TemporaryDirectory(prefix="portrait-variety-") as folder:
        histories, catalogue = shop_records(Path(folder))
    split = splits.time_split(histories)
    encoder = train_encoder_network(split.known, catalogue, EncoderConfig(epochs=3), SEED, print)
    content = content_of(catalogue, split.known).dense[:, :-2]  # without the price: what is published as item_vectors
    vectors = np.divide(content, lengths := np.linalg.norm(content, axis=1, keepdims=True), out=np.zeros_like(content), where=lengths > 0)
    tops = np.unique([path.split(">")[0].strip() for path in catalogue.category], return_inverse=True)[1] + 1
    seen = event_counts(split.test.histories, catalogue)
    targets = catalogue.index_of(split.test.targets)
    scores = np.concatenate(list(encoder.scores(split.test.histories, as_of_us=split.test_cut_us)))
    scores[seen.nonzero()] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :100]
    result: dict[str, Any] = {"users": len(targets), "items": len(catalogue), "rows": []}
    for diversity in DIVERSITIES:
        rules = Rules(diversity=diversity)
        gains, hits, alike, categories = [], [], [], []
        for user, target in enumerate(targets):
            places = best[user]
            none = np.zeros(len(places), bool)
            pool = Pool(scores[user, places], tops[places], vectors[places], none, none)
            listed = places[[placed.index for placed in arrange(pool, 10, rules).places]]
            found = np.flatnonzero(listed == target)
            gains.append(1 / np.log2(2 + found[0]) if len(found) else 0.0)
            hits.append(float(len(found) > 0))
            cosines = vectors[listed] @ vectors[listed].T
            alike.append(1 - float(cosines[np.triu_indices(10, 1)].mean()))
            categories.append(len(np.unique(tops[listed])))
        row = {
            "diversity": diversity,
            "NDCG@10": float(np.mean(gains)),
            "error": float(np.std(gains) / np.sqrt(len(gains))),
            "HR@10": float(np.mean(hits)),
            "unlikeness": float(np.mean(alike)),
            "categories": float(np.mean(categories)),
        }
        result["rows"].append(row)
        print(row, flush=True)
    return result


def million(count: int = MILLION, dim: int = DIM) -> dict[str, Any]:
    """Build time, memory, recall@10 and @100 of the served path (index, then exact scores) and its time, beside exact search."""
    import faiss
    import psutil

    from serving.nearest import NearestItems, build

    rows = np.empty((count, dim + 1), np.float32)
    rows[:, :dim] = clustered(count, dim) / 0.07  # as exported: divided by the temperature, the bias last
    rows[:, dim] = np.random.default_rng(SEED).normal(0, 0.5, count)
    started = time.perf_counter()
    index = build(rows)
    result: dict[str, Any] = {"items": count, "dim": dim, "asked": ASKED, "build_s": time.perf_counter() - started, "lists": index.nlist}
    item_ids = [str(number) for number in range(count)]
    nearest = NearestItems(item_ids, {item: place for place, item in enumerate(item_ids)}, rows, index)
    result["index_mb"] = faiss.serialize_index(index).nbytes / 1e6
    result["process_mb"] = psutil.Process().memory_info().rss / 1e6
    generator = np.random.default_rng(SEED + 1)
    near = rows[generator.integers(0, count, ASKED), :dim] * 0.07  # a user's vector lies among the items it likes
    users = near + 0.08 * generator.standard_normal((ASKED, dim), np.float32)
    users /= np.linalg.norm(users, axis=1, keepdims=True)
    asked = np.concatenate([users, np.ones((ASKED, 1))], axis=1).astype(np.float32)
    recalls: dict[int, list[float]] = {10: [], 100: []}
    times: dict[str, list[float]] = {"index, 10": [], "index, 100": [], "exact": []}
    for vector in asked:
        begun = time.perf_counter()
        scores = rows @ vector
        exact = np.argpartition(-scores, 100)[:100]
        exact = exact[np.argsort(-scores[exact])]
        times["exact"].append(1000 * (time.perf_counter() - begun))
        for k in recalls:
            begun = time.perf_counter()
            found, _ = nearest.best(vector, {}, set(), k)
            times[f"index, {k}"].append(1000 * (time.perf_counter() - begun))
            recalls[k].append(len(set(map(int, found)) & set(exact[:k].tolist())) / k)
    result |= {f"recall@{k}": float(np.mean(values)) for k, values in recalls.items()}
    result["times"] = {name: percentiles(values) for name, values in times.items()}
    print(result, flush=True)
    return result


def timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)


def percentiles(values: list[float]) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99))}


def main() -> None:
    parts = {"speed": speed, "large": large, "variety": variety, "million": million}
    for name in sys.argv[1:] or parts:
        where = circumstances()
        head = f"`python -m benchmarks.recommendations {name}`, {where['date']}, {where['machine']}, seed {SEED}."
        result = parts[name]() | {"head": head}
        found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        KEPT.write_text(json.dumps(found | {name: result}))
        write_part("recommendations", page(found | {name: result}))


if __name__ == "__main__":
    main()
