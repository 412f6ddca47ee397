"""Segments: who belongs together, and under which name."""

import json

import numpy as np
import pytest

from training.signatures import PROVENANCE_FILE, USER_FEATURES

pytestmark = pytest.mark.slow


def people(**features):
    numbers = np.ones((40, len(USER_FEATURES)), np.float32)
    for name, value in features.items():
        numbers[:, USER_FEATURES.index(name)] = value
    return numbers


def test_planted_groups_are_told_apart_and_named_for_what_they_do():
    from training.segments import fit_segments

    groups = [people(), people(spend_90d=900, purchases_90d=40), people(views_30d=80), people(returns_90d=30)]
    segments = fit_segments(np.concatenate(groups), seed=3)
    names = [segments.name_of(group).numpy() for group in groups]
    assert all(len(set(own)) == 1 for own in names)
    assert len({own[0] for own in names}) == 4
    assert names[1][0] in (b"big spenders, frequent buyers", b"frequent buyers, big spenders")
    assert names[2][0].startswith(b"browsers")
    assert names[3][0].startswith(b"frequent returners")
    assert len(set(segments.names)) == len(segments.names)


def test_too_few_users_have_no_segments():
    from training.segments import fit_segments

    assert fit_segments(people()[:10], seed=3) is None


def test_an_unknown_user_has_a_segment():
    from training.segments import fit_segments

    segments = fit_segments(np.concatenate([people(), people(views_30d=80)]), seed=3)
    assert segments.name_of(np.full((1, len(USER_FEATURES)), np.nan, np.float32)).numpy()[0].decode() in segments.names


def test_a_segment_that_goes_on_keeps_its_name_and_nobody_moves_whose_numbers_are_the_same():
    """Between the runs the big spenders became fewer and spent more, so the numbers are standardised otherwise."""
    from training.segments import Before, fit_segments

    first = np.concatenate([people(), people(spend_90d=900, purchases_90d=40), people(views_30d=80), people(returns_90d=30)])
    told = json.loads(json.dumps(fit_segments(first, seed=3).facts()))
    before = Before(told["names"], *(np.array(told[name], np.float32) for name in ("centres", "mean", "spread")))
    second = np.concatenate([first[:40], first[60:]])
    second[:, USER_FEATURES.index("spend_90d")] *= 1.3
    again = fit_segments(second, seed=8, before=before)
    assert sorted(again.names) == sorted(told["names"]) and all(again.kept)
    table = again.tables(second, before)
    assert table["Segments: the same users by the served model and by this one"] == [{"users": 140, "moved": 0.0, "agreement": 1.0}]
    assert sum(row["users"] for row in table["Segments"]) == 140


def test_centres_of_an_earlier_run_stay_where_they_were_when_numbers_are_standardised_otherwise():
    from training.numbers import NumberEncoder
    from training.segments import Before

    numbers = np.random.default_rng(2).gamma(2.0, 3.0, (60, len(USER_FEATURES))).astype(np.float32)
    old, new = NumberEncoder(len(USER_FEATURES)), NumberEncoder(len(USER_FEATURES))
    old.adapt(numbers)
    new.adapt(numbers[:30] * 2)
    before = Before([], np.asarray(old(numbers[:5])), np.asarray(old.mean), np.asarray(old.spread))
    np.testing.assert_allclose(before.scaled_as(new), np.asarray(new(numbers[:5])), atol=1e-4)


def test_the_served_models_segments_are_read_from_its_provenance(house):
    from training.segments import fit_segments, served_segments

    assert served_segments() is None
    kept = fit_segments(np.concatenate([people(), people(views_30d=80)]), seed=3)
    file = house / "models" / "portrait" / "3" / PROVENANCE_FILE
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"segments": kept.names}))
    assert served_segments() is None
    file.write_text(json.dumps({"segment_centres": kept.facts()}))
    found = served_segments()
    assert found.names == kept.names
    np.testing.assert_allclose(found.centres, kept.centres, atol=1e-5)
