"""What one run hands to the next, and how tasks end early."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from dags import assets, deploy, features, ingest, release, renew
from dags.failures import at_once, skipping
from quality.load import load_window
from tests.quality.delivery import DAY, NEXT_DAY, row, write_day


def context(params: dict[str, Any], *extras: dict[str, Any]) -> dict[str, Any]:
    """A task's context: the form's values, and one asset event a minute for each of `extras`."""
    events = [SimpleNamespace(timestamp=datetime(2024, 1, 1, 0, minute, tzinfo=UTC), extra=extra) for minute, extra in enumerate(extras)]
    return {"params": params, "triggering_asset_events": {assets.LANDING: events[::-1]} if events else {}}


def delivered(house: Path) -> None:
    body = {"source": "shop", "tables": {}, "start": "2024-01-01", "end": "2024-04-01", "missing": {}}
    (house / "landing").mkdir()
    (house / "landing" / "_delivery.json").write_text(json.dumps(body))


def test_what_was_handed_over_wins_over_the_form(house: Path) -> None:
    got = assets.received(context({"seed": 7, "budget": 10}, {"seed": 11, "source": "shop", "start": "2024-01-01", "end": "2024-01-02"}))
    assert got == {"seed": 11, "budget": 10, "source": "shop", "start": "2024-01-01", "end": "2024-01-02"}


def test_of_two_events_of_one_partition_the_newer_speaks(house: Path) -> None:
    window = {"source": "shop", "start": "2024-01-01", "end": "2024-01-02"}
    assert assets.received(context({}, {**window, "epochs": 1}, {**window, "epochs": 2}))["epochs"] == 2


def test_a_blank_window_is_the_whole_delivery(house: Path) -> None:
    delivered(house)
    got = assets.received(context({"start": None, "end": None}))
    assert assets.window_of(got) == (date(2024, 1, 1), date(2024, 4, 1))
    assert got["source"] == "shop"


def test_a_chosen_day_is_kept(house: Path) -> None:
    delivered(house)
    got = assets.received(context({"start": "2024-03-01", "end": "2024-03-02"}))
    assert assets.window_of(got) == (date(2024, 3, 1), date(2024, 3, 2))


def test_a_run_without_a_delivery_says_what_to_trigger(house: Path) -> None:
    with pytest.raises(AirflowFailException, match=r"blank and nothing was delivered yet\. Trigger `ingest` first"):
        assets.received(context({"start": None, "end": None}))


def test_a_window_without_a_day_never_runs_in_silence(house: Path) -> None:
    with pytest.raises(AirflowFailException, match=r"\[start, end\) in days\. Received 2024-03-01 to 2024-03-01"):
        assets.received(context({"source": "shop", "start": "2024-03-01", "end": "2024-03-01"}))


def test_the_partition_names_source_and_window() -> None:
    keys: list[str] = []
    event = SimpleNamespace(add_partitions=keys.append, extra=None)
    choices = {"source": "shop", "start": "2024-01-01", "end": "2024-04-01", "seed": 7}
    assets.hand_over({"outlet_events": {assets.FEATURES: event}}, assets.FEATURES, choices)  # type: ignore[typeddict-item]
    assert keys == ["shop|2024-01-01|2024-04-01"]
    assert event.extra == choices


def test_a_broken_contract_is_not_retried_but_a_busy_warehouse_is() -> None:
    with pytest.raises(AirflowFailException, match="three rows"), at_once(ValueError):
        raise ValueError("three rows broke a rule")
    with pytest.raises(UnicodeError), at_once(ValueError, passing=(UnicodeError,)):
        raise UnicodeError("busy")


def test_a_skip_carries_its_reason() -> None:
    with pytest.raises(AirflowSkipException, match="no campaign_exposures"), skipping(LookupError):
        raise LookupError("no campaign_exposures")


def test_a_model_learns_from_all_that_was_delivered_before_the_windows_end(house: Path) -> None:
    for folder in ("events/ds=2024-01-05", "users/ds=2024-01-03", "events/ds=2024-03-01"):
        (house / "landing" / folder).mkdir(parents=True)
    assert assets.history_of({"start": "2024-03-01", "end": "2024-03-02"}) == (date(2024, 1, 3), date(2024, 3, 2))


@pytest.mark.parametrize(
    ("model", "reason"), [("portrait", "portrait: not above the baseline"), ("uplift", "uplift: this run has no candidate of it")]
)
def test_what_is_not_published_says_why(house: Path, monkeypatch: pytest.MonkeyPatch, model: str, reason: str) -> None:
    (house / "candidates" / "portrait" / "r1").mkdir(parents=True)
    (house / "candidates" / "portrait" / "r1" / "verdict.json").write_text('{"promoted": false, "reason": "not above the baseline"}')
    handed = {"source": "shop", "start": "2024-01-01", "end": "2024-04-01", "candidates": ["recommender/r1", "portrait/r1"]}
    monkeypatch.setattr(deploy, "get_current_context", lambda: context({}, handed))
    publish = deploy.deploy().task_dict["publish"].python_callable
    with pytest.raises(AirflowSkipException, match=reason):
        publish(model)


def test_a_candidate_that_broke_a_rule_of_the_release_is_skipped_with_the_reason(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import release_steps
    from serving.release import ReleaseRefused

    def refuse(model: str, folder: Path) -> tuple[int, str]:
        raise ReleaseRefused(f"{model} version 4 was rolled back before any user saw it: y is the same in all 40 answers")

    (house / "candidates" / "portrait" / "r1").mkdir(parents=True)
    (house / "candidates" / "portrait" / "r1" / "verdict.json").write_text('{"promoted": true, "reason": "better"}')
    handed = {"source": "shop", "start": "2024-01-01", "end": "2024-04-01", "candidates": ["portrait/r1"]}
    monkeypatch.setattr(deploy, "get_current_context", lambda: context({}, handed))
    monkeypatch.setattr(release_steps, "publish", refuse)
    with pytest.raises(AirflowSkipException, match="portrait version 4 was rolled back before any user saw it: y is the same"):
        deploy.deploy().task_dict["publish"].python_callable("portrait")


def test_only_versions_on_trial_are_released_whatever_was_skipped_beside_them() -> None:
    published = [{"model": "portrait", "version": 1, "label": "stable"}, {"model": "uplift", "version": 3, "label": "canary"}]
    on_trial = deploy.deploy().task_dict["on_trial"].python_callable
    assert on_trial(published) == [{"model": "uplift", "version": 3}]
    assert on_trial(None) == on_trial([]) == []
    assert deploy.deploy().task_dict["on_trial"].trigger_rule == "none_failed"


def test_who_says_nothing_lets_the_rules_decide_and_a_broken_rule_ends_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import release_steps

    tasks = release.release().task_dict
    assert (tasks["decide"].options, tasks["decide"].defaults) == (["Follow the rules", "Promote", "Roll back"], ["Follow the rules"])
    assert tasks["decide"].response_timeout == timedelta(minutes=60)
    asked: list[tuple] = []
    monkeypatch.setattr(release_steps, "act", lambda **given: asked.append(tuple(given.values())))
    trial = {"model": "uplift", "version": 3}
    for choice, user in (("Follow the rules", None), ("Promote", {"id": "1", "name": "ann"}), ("Roll back", {"id": "1", "name": "ann"})):
        tasks["act"].python_callable(trial, {"chosen_options": [choice], "responded_by_user": user})
    assert asked == [
        ("uplift", 3, None, "nobody said: Follow the rules"),
        ("uplift", 3, True, "ann said: Promote"),
        ("uplift", 3, False, "ann said: Roll back"),
    ]

    def broken(model: str, version: int) -> None:
        raise release_steps.RolledBack(f"{model} version {version} was rolled back: 5 of 40 recorded requests failed")

    monkeypatch.setattr(release_steps, "watch", broken)
    with pytest.raises(AirflowSkipException, match="uplift version 3 was rolled back: 5 of 40"):
        tasks["watch"].python_callable(trial)


def test_a_delivery_that_is_not_asked_for_leaves_the_landing_files_as_they_are(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_day(house, "events", [row("events")])
    before = path.read_bytes()
    asked = {"source": "shop", "data": None, "seed": 7, "options": {}, "deliver": False}
    monkeypatch.setattr(ingest, "get_current_context", lambda: context(asked))
    assert ingest.ingest().task_dict["deliver"].python_callable() == {}
    assert [file for file in (house / "landing").rglob("*") if file.is_file()] == [path] and path.read_bytes() == before


def test_features_of_a_window_whose_newest_day_was_never_loaded_are_not_built(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_day(house, "events", [row("events")])
    load_window(house / "landing", DAY, NEXT_DAY)
    monkeypatch.setattr(features, "get_current_context", lambda: context({"source": "shop", "start": "2024-05-01", "end": "2024-05-03"}))
    build_marts = features.features().task_dict["build_marts"].python_callable
    with pytest.raises(AirflowFailException, match=r"without 2024-05-02; loaded is 2024-05-01 to 2024-05-01"):
        build_marts()
    assert not (house / "dbt").exists()


def test_a_house_without_features_is_not_renewed(house: Path) -> None:
    has_records = renew.renew().get_task("has_records").python_callable
    with pytest.raises(AirflowSkipException, match="No features are published yet"):
        has_records()
    (house / "offline" / "item_features").mkdir(parents=True)
    (house / "offline" / "item_features" / "schema.parquet").touch()
    has_records()
