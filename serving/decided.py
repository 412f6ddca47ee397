"""What an answer of the API leaves in the log of decisions: a row for every place of a list, and for the best that were not shown."""

from collections.abc import Sequence
from datetime import datetime

from serving.decisions import Decision, Kind, decision_log, decision_time
from serving.offers import Offers
from serving.recommend import Recommendations
from settings import get_settings
from training.signatures import RECOMMENDER, UPLIFT


def log_recommendations(answer: Recommendations) -> str | None:
    """The id of the logged list, or None where the log was full. Row n of the list is its place n, then what was considered."""
    features_at = answer.features_at or answer.as_of
    shared = {
        "user_id": answer.user_id or None,
        "kind": "recommendation",
        "model": RECOMMENDER.name if answer.source == "model" else answer.source,
        "model_version": str(answer.model_version or f"{answer.as_of:%Y-%m-%d}"),  # popularity has a version a day
        "features_at": features_at,
        "arm": answer.label,
    }
    shown = [
        Decision(**shared, subject=place.card.item_id, rank=place.rank, score=place.score, propensity=place.propensity, reason=place.reason)
        for place in answer.items
    ]
    others = [Decision(**shared, subject=item_id, score=score, reason="considered") for item_id, score in answer.considered]
    return _log([*shown, *others], answer.as_of, features_at)


def log_offers(answer: Offers) -> str | None:
    """The same for the offers of a user: the best one has rank 1, since it is what is advised; the others were considered."""
    features_at = answer.features_at or answer.as_of
    kind: Kind = "offer"
    rows = [
        Decision(
            answer.user_id,
            kind,
            effect.offer,
            UPLIFT.name,
            str(answer.model_version),
            features_at,
            rank=1 if effect.offer == answer.best else None,
            score=effect.expected_profit,
            propensity=1.0 if effect.offer == answer.best else None,
            arm=answer.label,
            reason="highest expected profit" if effect.offer == answer.best else "considered",
        )
        for effect in answer.effects
    ]
    return _log(rows, answer.as_of, features_at)


def _log(rows: Sequence[Decision], as_of: datetime, features_at: datetime) -> str | None:
    return decision_log().log(rows, decision_time(get_settings(), as_of, features_at)) if rows else None
