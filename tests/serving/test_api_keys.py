"""Keys and limits: what is kept, who is let in, and how often."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving import keys, rate_limit
from serving.keys import KeyRing, UnknownKey, UnknownScope
from serving.rate_limit import PLACES, RateLimiter
from settings import ROOT, get_settings


def test_only_the_hash_of_a_key_is_kept_and_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    os.umask(0o022)
    token = KeyRing(tmp_path).add("shop", ["read:portrait"])
    kept = (tmp_path / "keys.json").read_text()
    assert token not in kept and token.split("_", 2)[2] not in kept
    assert json.loads(kept)[0]["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600


def test_a_key_is_found_by_itself_alone(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    token = ring.add("shop", ["read:portrait"])
    found = ring.find(token)
    assert found is not None and found.scopes == ("read:portrait",)
    wrong = [
        "",
        "pk",
        f"{token}x",
        token[:-1],
        token.replace("pk_", "pk_0"),
        f"pk_{found.id}_",
        "pk_00000000_" + token.split("_", 2)[2],
        "é\ud800",
    ]
    assert [ring.find(one) for one in wrong] == [None] * len(wrong)


def test_a_key_revoked_by_another_process_is_refused_at_once(tmp_path: Path) -> None:
    server, operator = KeyRing(tmp_path), KeyRing(tmp_path)
    token = operator.add("shop", ["read:portrait"])
    found = server.find(token)
    assert found is not None
    operator.revoke(found.id)
    assert server.find(token) is None and server.valid(found.id) is None
    assert [key.revoked_at is not None for key in server.all()] == [True]


def test_keys_made_at_once_are_all_kept(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(KeyRing(tmp_path).add("x", ["admin"]))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(KeyRing(tmp_path).find(token) for token in made) and len(set(made)) == 12


def test_a_wrong_scope_or_id_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UnknownScope, match=r"must be of read:portrait, .* Received read:all\."):
        KeyRing(tmp_path).add("x", ["read:all"])
    with pytest.raises(UnknownScope, match=r"at least one scope of .* Name them with --scope\."):
        KeyRing(tmp_path).add("x", [])
    with pytest.raises(UnknownKey, match=r"one that `portrait keys list` shows. Received 'zz'"):
        KeyRing(tmp_path).revoke("zz")


def test_a_house_makes_itself_one_key_that_may_everything(house: Path) -> None:
    settings = get_settings()
    assert keys.house_key(settings) == "" and not (house / "api").exists()
    keys.make_secrets(settings)
    first, secret = keys.house_key(settings), keys.session_secret(settings)
    keys.make_secrets(settings)
    assert (keys.house_key(settings), keys.session_secret(settings)) == (first, secret)
    found = KeyRing.of(settings).find(first)
    assert found is not None and all(found.may(scope) for scope in keys.SCOPES)
    assert {file.stat().st_mode & 0o777 for file in (house / "api").iterdir() if file.suffix != ".lock"} == {0o600}


def test_a_house_whose_key_was_revoked_makes_itself_another(house: Path) -> None:
    keys.make_secrets(get_settings())
    first = keys.house_key(get_settings())
    KeyRing.of(get_settings()).revoke(first.split("_")[1])
    keys.make_secrets(get_settings())
    second = keys.house_key(get_settings())
    assert second != first and KeyRing.of(get_settings()).find(second) is not None


def test_a_bucket_gives_its_burst_then_its_rate(tmp_path: Path) -> None:
    now = [0.0]
    limiter = RateLimiter(2, 3, tmp_path / "limits", lambda: now[0])
    assert [limiter.take("a").allowed for _ in range(4)] == [True, True, True, False]
    refused = limiter.take("a")
    assert refused.headers == {"RateLimit-Limit": "3", "RateLimit-Remaining": "0", "RateLimit-Reset": "1", "Retry-After": "1"}
    now[0] = 0.5
    assert [limiter.take("a").allowed for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [limiter.take("a").remaining for _ in range(3)] == [2, 1, 0]


def test_over_a_minute_a_caller_gets_burst_plus_rate_times_time_and_no_other_is_kept_out(tmp_path: Path) -> None:
    now = [0.0]
    limiter = RateLimiter(5, 10, tmp_path / "limits", lambda: now[0])
    passed = 0
    for step in range(6000):  # 100 tries a second
        now[0] = step / 100
        passed += limiter.take("greedy").allowed
        if step % 100 == 0:
            assert limiter.take("modest").allowed
    assert abs(passed - (10 + 5 * 60)) <= 1


def test_callers_forgotten_are_those_that_asked_longest_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "GROUPS", 1)  # else few callers meet
    times = itertools.count()
    limiter = RateLimiter(0.001, 1, tmp_path / "limits", lambda: next(times) / 1000)
    limiter.take("first")
    for number in range(PLACES - 1):
        limiter.take(str(number))
    assert not limiter.take("first").allowed  # still remembered, and now the newest
    limiter.take("one more")
    assert limiter.take("0").allowed  # forgotten
    assert not limiter.take("first").allowed


def test_a_thousand_callers_are_remembered_at_once(tmp_path: Path) -> None:
    limiter = RateLimiter(0.001, 1, tmp_path / "limits")
    assert all(limiter.take(f"key {number}").allowed for number in range(1000))
    assert not any(limiter.take(f"key {number}").allowed for number in range(1000))
    assert (tmp_path / "limits").stat().st_mode & 0o777 == 0o600


def test_several_processes_and_threads_share_one_bucket(tmp_path: Path) -> None:
    """Four processes of four threads ask 50 times each at once: together they get the burst and no token more."""
    code = """
import sys, threading
from pathlib import Path
from serving.rate_limit import RateLimiter
limiter, passed = RateLimiter(1e-9, 100, Path(sys.argv[1])), []
ask = lambda: passed.extend(limiter.take("key").allowed for _ in range(50))
threads = [threading.Thread(target=ask) for _ in range(4)]
input()
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum(passed))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "limits")]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate(timeout=60)[0]) for worker in workers) == 100


def test_after_a_restart_of_the_machine_a_bucket_is_full_again(tmp_path: Path) -> None:
    assert RateLimiter(0.001, 1, tmp_path / "limits", lambda: 1e6).take("a").allowed
    assert not RateLimiter(0.001, 1, tmp_path / "limits", lambda: 1e6).take("a").allowed
    assert RateLimiter(0.001, 1, tmp_path / "limits", lambda: 5.0).take("a").allowed
