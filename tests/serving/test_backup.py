"""A house is destroyed and made again from its backup, elsewhere: everything in every store is as it was."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from serving import keys, manifest
from serving.local import backup_manifest, house, preflight, servers
from serving.local.backup import backup
from serving.local.errors import BackupFailed, NotStartable, RestoreRefused
from serving.local.restore import restore
from settings import ROOT, Settings, get_settings
from tests.feature_repo.conftest import MAY
from tests.serving.backed_up_house import Contents, contents, destroy, differing, furnish, quiet, run_services_once, small_house
from tests.serving.conftest import free_ports


def moved(found: Contents, before: Path, after: Path) -> Contents:
    """What a house holds, with what it says of its own place said of another."""
    return json.loads(json.dumps(found, default=repr).replace(f"{before}/", f"{after}/"))


@pytest.mark.slow
def test_a_house_of_files_comes_back_as_it_was_in_another_folder(place: Path) -> None:
    from feature_repo.parity import check_parity

    token = furnish()
    run_services_once()
    before, values = contents(), check_parity().values
    report = backup(get_settings(), place / "kept", quiet)
    assert report.bytes == sum(file.stat().st_size for folder in (place / "kept").iterdir() for file in folder.rglob("*") if file.is_file())
    destroy(place / "house")
    restore(place / "kept", place / "elsewhere", quiet)
    assert get_settings().home == place / "elsewhere"
    after = contents()
    assert_same(before, after, place / "house", place / "elsewhere")
    assert check_parity().values == values
    found = keys.KeyRing.of(get_settings()).find(token)
    assert found and found.scopes == ("read:offers",)
    key = manifest.make_key(get_settings().signing_key).public_key()
    manifest.verify(get_settings().models_dir / "tiny" / "1", "tiny", 1, key)
    assert not (get_settings().models_dir / "tiny" / ".2.tmp-77").exists()
    assert {path.stat().st_mode & 0o777 for path in (place / "kept").rglob("*") if path.is_file()} == {0o600}
    assert (place / "kept").stat().st_mode & 0o777 == 0o700


def assert_same(before: Contents, after: Contents, old: Path, new: Path) -> None:
    """Equal but for the house's own place and the tasks that were under way, which are to be scheduled again."""
    expected, found = moved(before, old, new), moved(after, new, new)
    states = {name: stores.pop("task_instance", None) or stores.pop("public.task_instance") for name, stores in airflow(expected).items()}
    again = {name: stores.pop("task_instance", None) or stores.pop("public.task_instance") for name, stores in airflow(found).items()}
    assert str(old) not in json.dumps({name: rows for name, rows in found.items() if "registry" not in name})
    for name in ("feast/registry.db", "registry_url"):  # a protocol buffer; `portrait up` registers anew
        for stores in (expected, found):
            stores.pop(name, None)
    assert differing(expected, found) == []
    (was,), (now,) = states.values(), again.values()
    assert [sum(f"'{state}'" in row for row in was) for state in ("running", "queued", "success")] == [1, 1, 1]
    assert [sum(f"'{state}'" in row for row in now) for state in ("running", "queued", "success")] == [0, 0, 1]


def airflow(found: Contents) -> dict[str, dict[str, list[str]]]:
    return {name: found[name] for name in ("airflow/airflow.db", "airflow_database_url") if name in found}


@pytest.mark.slow
def test_a_house_with_servers_comes_back_from_a_restore_that_was_killed_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_repo.parity import check_parity

    if lacking := servers.missing(get_settings()):
        pytest.skip("; ".join(lacking))
    settings = with_servers(monkeypatch)
    furnish()
    with house.servers_up(settings, quiet):
        from quality.postgres import copy_landing

        run_services_once()
        copy_landing(settings.warehouse_url)
        before, values = contents(), check_parity().values
        assert len(before["redis"]) > 3
        assert before["warehouse_url"]["landing.events"]
        backup(settings, place / "kept", quiet)
    told = json.loads((place / "kept" / "manifest.json").read_text())
    assert told["servers"].keys() == {"postgres", "redis"}
    password = settings.redis.rpartition("=")[2]
    destroy(place / "house")

    free_servers(monkeypatch)
    half = subprocess.Popen(
        (sys.executable, "-m", "cli", "restore", str(place / "kept"), "--home", str(place / "elsewhere")),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    while not (place / "elsewhere" / "run" / "redis.json").exists():
        assert half.poll() is None
    half.kill()
    half.wait()
    monkeypatch.setenv("PORTRAIT_HOME", str(place / "elsewhere"))
    get_settings.cache_clear()
    with pytest.raises(NotStartable, match=r"Restoring .*elsewhere did not end. Run `portrait restore .*kept --home .*elsewhere` again"):
        preflight.check(get_settings())

    restore(place / "kept", place / "elsewhere", quiet)
    again = get_settings()
    assert (again.profile, again.postgres_port != settings.postgres_port) == ("services", True)
    assert password not in again.house_file.read_text()
    with house.servers_up(again, quiet):
        assert_same(before, contents(), place / "house", place / "elsewhere")
        assert check_parity().values == values


@pytest.mark.slow
def test_a_house_of_files_becomes_one_with_servers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_repo.materialise import materialise
    from feature_repo.parity import check_parity

    token = furnish()
    materialise(*MAY)
    before, values = contents(), check_parity().values
    backup(get_settings(), place / "kept", quiet)
    with pytest.raises(RestoreRefused, match=r"Received compose. Leave --profile away"):
        restore(place / "kept", place / "other", quiet, "compose")
    if lacking := servers.missing(get_settings()):
        pytest.skip("; ".join(lacking))
    free_servers(monkeypatch)
    restore(place / "kept", place / "elsewhere", quiet, "services")
    settings = get_settings()
    assert (settings.profile, settings.online_store, settings.home) == ("services", "redis", place / "elsewhere")
    with house.servers_up(settings, quiet):
        after = contents()
        assert after["redis"] and check_parity().values == values
    assert {place for place in differing(before, after) if place.partition(":")[0] in before} == {"feast/online.db", "feast/registry.db"}
    assert keys.KeyRing.of(settings).find(token)


def free_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of a house that comes up from here on get ports of their own."""
    for port, name in zip(free_ports(2), ("POSTGRES", "REDIS"), strict=True):
        monkeypatch.setenv(f"PORTRAIT_{name}_PORT", str(port))


def with_servers(monkeypatch: pytest.MonkeyPatch) -> Settings:
    free_servers(monkeypatch)
    monkeypatch.setenv("PORTRAIT_PROFILE", "services")
    get_settings.cache_clear()
    return servers.settle(get_settings())


def test_one_changed_byte_is_refused_by_name_before_anything_is_touched(place: Path) -> None:
    small_house(place / "house")
    backup(get_settings(), place / "kept", quiet)
    whole = sorted(path for path in (place / "kept").rglob("*") if path.is_file() and path.name != "manifest.json.sha256")
    assert len(whole) == 7
    for file in whole:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(
            RestoreRefused, match=rf"Missing or changed in .*kept: {file.relative_to(place / 'kept')}\. Nothing was restored"
        ):
            restore(place / "kept", place / "elsewhere", quiet)
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    (place / "kept" / "house" / "releases" / "tiny.json").unlink()
    with pytest.raises(RestoreRefused, match=r"house/releases/tiny.json"):
        restore(place / "kept", place / "elsewhere", quiet)
    assert not (place / "elsewhere").exists()


def test_a_restore_needs_an_empty_folder_a_whole_backup_and_a_format_it_knows(place: Path) -> None:
    small_house(place / "house")
    backup(get_settings(), place / "kept", quiet)
    with pytest.raises(
        RestoreRefused, match=r"restored into a folder that is empty or does not exist. .*house is not. Name another one \(--home\)"
    ):
        restore(place / "kept", None, quiet)
    with pytest.raises(RestoreRefused, match=r"A backup is a folder with manifest.json, which is written last. Found none in .*house"):
        restore(place / "house", place / "elsewhere", quiet)
    told = backup_manifest.read(place / "kept")
    for changed, why in (
        (
            {"format": "2.0"},
            r"reads backups of the format 1.0. Received 2.0 in .*, written by Portrait 0.1.0. Restore it with that version",
        ),
        ({"links": {"house/../../../etc/passwd": "x"}}, r"Every path of a backup lies within it. Received 'house/\.\./"),
    ):
        backup_manifest.write(place / "kept", backup_manifest.Manifest(**{**vars(told), **changed}))
        with pytest.raises(RestoreRefused, match=why):
            restore(place / "kept", place / "elsewhere", quiet)
    assert not (place / "elsewhere").exists()


def test_a_backup_needs_a_house_and_a_folder_of_its_own(place: Path) -> None:
    small_house(place / "house")
    with pytest.raises(BackupFailed, match=r"must outlive its house"):
        backup(get_settings(), place / "house" / "kept", quiet)
    with pytest.raises(BackupFailed, match=r"gets a folder of its own. .* exists"):
        backup(get_settings(), place, quiet)
    with FileLock(place / "house" / ".backup.lock"), pytest.raises(BackupFailed, match=r"One backup of a house is made at a time"):
        backup(get_settings(), place / "kept", quiet)
    holder = subprocess.Popen(
        (sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(get_settings().warehouse)!r}); print('open', flush=True); input()"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout and holder.stdout.readline() == b"open\n"
    with pytest.raises(BackupFailed, match=r"Others had it for all of 1 s. Back up when no load or build is running"):
        backup(get_settings(), place / "kept", quiet, patience_s=1)
    holder.communicate(b"\n")
    assert sorted(path.name for path in place.iterdir()) == ["house"]
    shutil.rmtree(place / "house")
    with pytest.raises(Exception, match=r"A backup needs a house. Received .*house, where there is none"):
        backup(get_settings(), place / "kept", quiet)


def test_stores_are_each_of_one_moment_while_a_writer_changes_them_all(place: Path) -> None:
    writer = subprocess.Popen((sys.executable, "-m", "tests.serving.busy_house"), cwd=ROOT, stdout=subprocess.PIPE)
    seen: list[tuple[int, int, int]] = []
    try:
        assert writer.stdout and writer.stdout.readline() == b"ready\n"
        for attempt in range(4):
            backup(get_settings(), place / f"kept-{attempt}", quiet)
    finally:
        writer.kill()
        writer.wait()
    for attempt in range(4):
        home = place / f"again-{attempt}"
        restore(place / f"kept-{attempt}", home, quiet)
        with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as warehouse:
            marts = warehouse.execute("select distinct events_7d, count(*) from marts.user_features group by 1").fetchall()
            files = (home / "offline" / "user_features").resolve() / "**" / "*.parquet"
            published = warehouse.execute(f"select events_7d, count(*) from '{files}' group by 1").fetchall()
        with closing(sqlite3.connect(home / "api" / "rounds.sqlite")) as database:
            left, right = (database.execute(f'select max(number), count(*) from "{table}"').fetchone() for table in ("left", "right"))
        assert [rows for _, rows in marts] == [40] and [rows for _, rows in published] == [40]
        assert left == right
        seen.append((marts[0][0], published[0][0], left[0]))
        assert published[0][0] <= marts[0][0]  # what is published was copied before what it came from
    assert len(set(seen)) > 1
