"""dbt's own checks find the harm that they are there for: it is planted in the marts of the small shop, each kind in rows of its own."""

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from feature_repo.contract import marts
from quality import transform
from quality.errors import TransformFailed
from quality.transform import PROJECT, build
from quality.warehouse import open_warehouse
from tests.dbt_project.small_shop import FIRST, LAST, deliveries, load

pytestmark = pytest.mark.slow

LABELS = {
    "is_purchased_7d": "false",
    "is_purchased_30d": "false",
    "is_active_7d": "true",
    "is_active_30d": "true",
    "next_purchase_item_id": "null",
    "spend_30d": "0",
}
LISTS = ("event_item_ids", "event_types", "event_times_us", "event_prices", "event_categories")


def oldest(mart: str, one: str, change: str) -> str:
    return _planted(mart, change, f"{_key(mart)} = '{one}' order by features_at, created_at limit 1")


def newest(mart: str, one: str, change: str) -> str:
    return _planted(mart, change, f"{_key(mart)} = '{one}' order by features_at desc, created_at desc limit 1")


def label(number: int, **harm: str) -> str:
    change = ", ".join(f"{name} = {value}" for name, value in (LABELS | harm).items())
    return _planted("next_purchase_labels", change, f"true order by user_id, label_at limit 1 offset {number}")


def _key(mart: str) -> str:
    return "item_id" if mart == "item_features" else "user_id"


def _planted(mart: str, change: str, which: str) -> str:
    return f"update marts.{mart} set {change} where rowid = (select rowid from marts.{mart} where {which})"


#: For every singular test, one row of harm for every condition that it looks at.
HARM = {
    "every_event_is_counted_exactly_once": [
        newest("user_features", "r0", "events_total = events_total + 1"),
        newest("item_features", "j0", "events_total = events_total + 1"),
    ],
    "every_version_is_known_at_or_after_its_time": [
        oldest("user_features", "r1", "created_at = features_at - interval 1 day"),
        oldest("user_features", "r2", "last_event_at = features_at"),
        oldest("user_features", "r3", "first_event_at = last_event_at + interval 1 second"),
        oldest("user_sequences", "r1", "created_at = features_at - interval 1 day"),
        oldest("user_sequences", "r2", "event_times_us = list_append(event_times_us[1:-2], epoch_us(features_at))"),
        oldest("item_features", "j1", "created_at = features_at - interval 1 day"),
    ],
    "outcomes_follow_from_each_other": [
        label(0, is_purchased_7d="true"),
        label(1, is_purchased_30d="true", is_active_7d="false", is_active_30d="false", next_purchase_item_id="'i1'"),
        label(2, next_purchase_item_id="'i1'"),
        label(3, is_active_7d="false", is_active_30d="false", spend_30d="1"),
        label(4, is_purchased_7d="true", is_purchased_30d="true", is_active_7d="false", next_purchase_item_id="'i1'"),
        label(5, is_active_30d="false"),
    ],
    "sequence_lists_are_aligned": [
        newest("user_sequences", "r0", ", ".join(f"{name} = list_resize({name}, 51)" for name in LISTS)),
        *(newest("user_sequences", f"r{n}", f"{name} = list_append({name}, null)") for n, name in enumerate(LISTS[1:], 1)),
    ],
    "shorter_windows_hold_no_more_than_longer_ones": [
        newest("user_features", "r0", "events_7d = events_30d + 1"),
        newest("user_features", "r1", "purchases_7d = purchases_30d + 1"),
        newest("user_features", "r2", "views_7d = events_7d + 1"),
        newest("user_features", "r3", "views_30d = events_30d + 1"),
        newest("user_features", "r4", "returns_90d = events_90d + 1"),
        newest("user_features", "r5", "active_days_30d = 31"),
        newest("user_features", "u1", "sessions_30d = events_30d + 1"),
        newest("user_features", "u2", "active_days_30d = (events_30d = 0)::int"),
        newest("item_features", "j1", "events_7d = events_30d + 1"),
        newest("item_features", "j2", "purchases_7d = purchases_30d + 1"),
        newest("item_features", "j3", "views_7d = events_7d + 1"),
        newest("item_features", "j4", "buyers_30d = purchases_30d + 1"),
    ],
}


def test_every_singular_test_fails_on_the_harm_it_is_there_for_and_a_mart_that_breaks_its_contract_is_not_built(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(HARM) == {path.stem for path in (PROJECT / "tests").glob("*.sql")}
    load(deliveries(), FIRST, LAST + timedelta(days=1))
    build(FIRST, LAST + timedelta(days=1))  # every test passes: what fails below was planted
    with open_warehouse() as warehouse:
        for statement in [one for statements in HARM.values() for one in statements]:
            assert warehouse.execute(statement).fetchone() == (1,), statement
    with pytest.raises(TransformFailed) as failure:
        transform._run_dbt("test", ["--select", "test_type:singular"])
    found = dict(re.findall(r"(\w+): Got (\d+) results?", str(failure.value)))
    assert found == {name: str(len(statements)) for name, statements in HARM.items()}

    project = house / "project"
    shutil.copytree(PROJECT, project)
    times = {mart.name: next(column.name for column in mart.columns if column.kind == "timestamp") for mart in marts().values()}
    for mart, time in times.items():
        model = project / "models" / "marts" / f"{mart}.sql"
        rows, final = model.read_text().rsplit("select * from final", 1)
        model.write_text(f"{rows}select * replace (cast({time} as date) as {time}), 1 as stray from final{final}")
    monkeypatch.setattr(transform, "PROJECT", project)
    with pytest.raises(TransformFailed) as failure:
        transform._run_dbt("run", ["--select", "path:models/marts"])
    for mart, time in times.items():
        read = re.findall(r"ref\('(\w+)'\)", (PROJECT / "models" / "marts" / f"{mart}.sql").read_text())
        if not set(read) & set(times):  # one that reads another mart is skipped
            assert re.search(
                rf"{mart}: Compilation Error in model {mart} [^;]* enforced contract [^;]*{time}[^;]*stray", str(failure.value)
            )
