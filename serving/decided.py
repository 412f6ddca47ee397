"""What an answer of the API leaves in the log of decisions: a row for every place of a list, and for the best that were not shown."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from feature_repo.frames import naive_utc
from serving.decisions import Decision, decision_log, decision_time
from serving.offers import Offers
from serving.recommend import Recommendations
from settings import get_settings
from training.signatures import RECOMMENDER, UPLIFT


def log_recommendations(answer: Recommendations) -> str | None:
    """The id of the logged list, or None where the log was full. Row n of the list is its place n, then what was considered."""
    features_at = naive_utc(answer.features_at or answer.as_of)  # online features tell their times with a zone
    considered = Decision(
        answer.user_id or None,
        "recommendation",
        "",
        RECOMMENDER.name if answer.source == "model" else answer.source,
        str(answer.model_version or f"{answer.as_of:%Y-%m-%d}"),  # popularity has a version a day
        features_at,
        arm=answer.label,
        reason="considered",
    )
    shown = [
        replace(considered, subject=one.card.item_id, rank=one.rank, score=one.score, propensity=one.propensity, reason=one.reason)
        for one in answer.items
    ]
    others = [replace(considered, subject=item_id, score=score) for item_id, score in answer.considered]
    return _log([*shown, *others], answer.as_of, features_at)


def log_offers(answer: Offers) -> str | None:
    """The same for the offers of a user: the best one has rank 1, since it is what is advised; the others were considered."""
    features_at = naive_utc(answer.features_at or answer.as_of)  # online features tell their times with a zone
    considered = Decision(
        answer.user_id, "offer", "", UPLIFT.name, str(answer.model_version), features_at, arm=answer.label, reason="considered"
    )
    rows = [replace(considered, subject=effect.offer, score=effect.expected_profit) for effect in answer.effects]
    rows = [replace(row, rank=1, propensity=1.0, reason="highest expected profit") if row.subject == answer.best else row for row in rows]
    return _log(rows, answer.as_of, features_at)


def _log(rows: Sequence[Decision], as_of: datetime, features_at: datetime) -> str | None:
    return decision_log().log(rows, decision_time(get_settings(), as_of, features_at)) if rows else None
