"""The comparison of training speed: its arithmetic by hand, and that both sides are asked what they would recommend."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peers import Run, duels, section
from benchmarks.turns import Rows, Turns
from settings import ROOT

OWN, PEER = "Portrait", "RecTools eSASRec as published"


def points(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [{"seconds": seconds, "cpu_seconds": 2 * seconds, "ndcg": ndcg} for seconds, ndcg in values]


def small_rows(users: int = 40, items: int = 12) -> Rows:
    """Users who take every item in order from a place of their own: the next one is the question."""
    walks = [[(user + step) % items for step in range(5 + user % 3)] for user in range(users)]
    ids = np.repeat(np.arange(users), [len(walk) for walk in walks])
    targets = np.array([(walk[-1] + 1) % items for walk in walks])
    return Rows(ids, np.concatenate(walks), targets, np.array(items + 1))  # the last item is never seen


def test_a_level_is_reached_at_the_first_epoch_that_has_it() -> None:
    run = Run(OWN, points((10, 0.02), (15, 0.04), (20, 0.03), (25, 0.05)))
    assert run.reached(0.04) == {"seconds": 15, "cpu_seconds": 30, "ndcg": 0.04}
    assert run.reached(0.06) is None
    assert (run.best, run.epoch("seconds"), run.epoch("cpu_seconds")) == (0.05, 5, 10)


def test_a_run_is_over_after_its_time_or_five_epochs_that_were_no_better() -> None:
    assert not Run(OWN).is_over(60)
    assert Run(OWN, points((61, 0.1))).is_over(60)
    rising = [(second, second / 100) for second in range(1, 8)]
    assert not Run(OWN, points(*rising)).is_over(60)
    assert not Run(OWN, points((1, 0.5), *rising[1:5])).is_over(60)
    assert Run(OWN, points((1, 0.5), *rising[1:6])).is_over(60)


def test_ratios_are_the_peers_time_over_ours_to_the_same_level() -> None:
    own, peer = Run(OWN, points((10, 0.02), (20, 0.039))), Run(PEER, points((100, 0.01), (200, 0.032), (300, 0.04)))
    found = duels([own, peer])
    assert [(duel["share"], duel["seconds"]) for duel in found] == [(0.8, 10.0), (0.95, 15.0), (1.0, None)]


def test_the_page_says_what_was_not_reached_and_who_was_unfinished() -> None:
    runs = [Run(name) for name in (*peers.OURS, *peers.PEERS)]
    runs[0].points, runs[2].points = points((10, 0.02), (20, 0.039)), points((100, 0.01), (300, 0.04))
    for run in runs:
        run.turns, run.busy = 100.0, 20.0
    facts = {
        "minutes": 5.0,
        "date": "2026-01-01",
        "machine": "m",
        "versions": "v",
        "users": 10,
        "items": 5,
        "events": 30,
        "targets_sha256": "a",
    }
    text = section(runs, facts)
    assert "| RecTools eSASRec as published | 2, unfinished | 100 | 200.0 | 0 | 300 | 600 | 0.0400 | 2 |" in text
    assert "| 0.0400 (best) | 300, 600 | Portrait | not reached |" in text
    assert "| 0.0380 (95% of best) | 300, 600 | Portrait | 20, 40 | 15.0 | 15.0 |" in text


def test_questions_rank_all_items_but_those_of_the_users_own_events(tmp_path: Path) -> None:
    small_rows().save(tmp_path / "rows.npz")
    rows = Rows(np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([3, 0]), np.array(4))
    # user 0: items 0 and 1 are gone, 2 stands before 3; user 1: item 2 is gone, 0 comes first
    assert rows.ndcg(iter([np.array([[9, 8, 7, 6], [5, 4, 9, 3]], np.float32)])) == pytest.approx((1 / np.log2(3) + 1) / 2)
    again = Rows.load(tmp_path / "rows.npz")
    assert [len(again.users), int(again.catalogue), again.targets[0]] == [239, 13, 5]  # 14 users of 5 events, 13 of 6, 13 of 7


def test_the_clock_counts_neither_questions_nor_waiting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    for clock in ("perf_counter", "process_time"):
        monkeypatch.setattr(f"benchmarks.turns.time.{clock}", lambda: now[0])

    class Slow(io.StringIO):
        def readline(self, *size: int) -> str:  # type: ignore[override]
            now[0] += 1000
            return super().readline(*size)

    def scores():
        now[0] += 100
        yield np.zeros((40, 13), np.float32)

    monkeypatch.setattr(sys, "stdin", Slow("go\ngo\n"))
    turns = Turns(small_rows())
    now[0] += 1
    turns.after_epoch(scores())
    now[0] += 2
    with pytest.raises(SystemExit):
        turns.after_epoch(scores())
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert reports[0] == {"ready": True}
    assert [(report["seconds"], report["cpu_seconds"]) for report in reports[1:]] == [(1, 1), (3, 3)]


@pytest.mark.slow
def test_the_encoder_asked_after_its_last_epoch_is_the_one_that_the_fit_returns() -> None:
    from benchmarks.peers_portrait import EpochEnds
    from training.catalogue import Catalogue
    from training.encoder import train_encoder_network
    from training.encoder_config import EncoderConfig
    from training.fitting import Watch
    from training.histories import Histories

    rows = small_rows()
    ids, blank = np.array([f"i{number:02d}" for number in range(int(rows.catalogue))], object), np.full(int(rows.catalogue), "", object)
    catalogue = Catalogue(ids, blank, blank, blank, np.full(len(ids), np.nan, np.float32), blank)
    lengths = np.bincount(rows.users)
    kinds, times = [np.full(n, "view", object) for n in lengths], [1_700_000_000_000_000 + 3_600_000_000 * np.arange(n) for n in lengths]
    users = np.array([f"u{user}" for user in range(len(lengths))], object)
    histories = Histories(users, np.split(ids[rows.items], np.cumsum(lengths)[:-1]), kinds, times)
    config = EncoderConfig(sequence_length=8, dim=16, epochs=2, batch_rows=8)
    asked: list[np.ndarray] = []

    class Kept:
        def after_epoch(self, scores) -> None:
            asked.append(np.concatenate(list(scores)))

    fitted = train_encoder_network(histories, catalogue, config, 3, watch=Watch(checkpoint=EpochEnds(Kept(), config, catalogue, histories)))
    assert len(asked) == 2
    np.testing.assert_allclose(asked[1], np.concatenate(list(fitted.scores(histories))), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_peers_scores_rank_as_its_own_recommendations(tmp_path: Path) -> None:
    python = peers.FOLDER / "env" / "bin" / "python"
    if not python.exists():
        pytest.skip("needs RecTools in var/benchmarks/peers/env, which `python -m benchmarks.peers` installs (5.5 GB)")
    small_rows().save(tmp_path / "rows.npz")
    code = f"""
import numpy as np
from pathlib import Path
from benchmarks.peers_rectools import dataset_of, scores_of, train
from benchmarks.turns import Rows
rows = Rows.load(Path({str(tmp_path / "rows.npz")!r}))
model = train(rows, {{"n_factors": 8, "n_blocks": 1, "n_heads": 1, "session_max_len": 8}}, epochs=3)
scores = np.concatenate(list(scores_of(model, model.lightning_model, dataset_of(rows), rows, batch=16)))
assert scores.shape == (40, 13) and np.isneginf(scores[:, 12]).all()
listed = model.recommend(np.arange(40), dataset_of(rows), k=3, filter_viewed=True)
for user, one in listed.groupby("user_id"):
    scores[user, rows.items[rows.users == user]] = -np.inf
    assert np.argsort(-scores[user], kind="stable")[:3].tolist() == one.sort_values("rank")["item_id"].tolist()
    np.testing.assert_allclose(scores[user, one["item_id"]], one["score"], rtol=1e-5)
print("same", listed["user_id"].nunique())
"""
    done = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith("same 40"), done.stderr
