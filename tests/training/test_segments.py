"""Segments: who belongs together, and under which name."""

import numpy as np
import pytest

from training.signatures import USER_FEATURES

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
