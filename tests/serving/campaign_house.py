"""A house of thirty customers, of whom some may not be contacted, for tests of campaigns; effects are a rule: the n-th gains n/10 by a
coupon."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.campaign_request import CampaignRequest
from settings import get_settings
from tests.serving.fakes import FakeFront
from tests.serving.web_client import consent, day, portrait_row, publish, said
from training.signatures import PROVENANCE_FILE

USERS = [f"u{n:02d}" for n in range(30)]
#: Not asked, refused later, excluded by hand, contacted lately.
UNASKED, REFUSED, EXCLUDED, CONTACTED = "u01", "u02", "u03", "u04"
AS_OF = datetime(2024, 3, 1)  # noqa: DTZ001


class CampaignFront(FakeFront):
    """The uplift model knows each customer by the number in `events_total`: a coupon adds spend of a tenth of it, a mail of a twentieth."""

    def predict(self, model: str, inputs: dict[str, Any], **chosen: Any) -> Any:
        self.asked.append((model, inputs))
        spend = np.outer(inputs["purchases_total"], [1.0, 0.5]).astype(float)
        answer = super().predict(model, inputs, **chosen)
        answer.update(spend_uplift=spend, visit_uplift=spend / 100, conversion_uplift=spend / 200)
        return answer


def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CampaignFront:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    get_settings.cache_clear()
    features = [
        {"user_id": user, "features_at": day("02-20"), "created_at": day("02-20"), "events_total": 1, "purchases_total": n, "country": "NO"}
        for n, user in enumerate(USERS)
    ]
    publish("user_features", features, day("02-20"))
    consents = [consent(user) for user in USERS if user != UNASKED] + [consent(REFUSED, "02-01", marketing=False)]
    publish("user_consents", consents)
    publish(
        "user_portraits", [portrait_row(user, "02-20", "02-20", said(0.5, "buyers" if n % 2 else "quiet")) for n, user in enumerate(USERS)]
    )
    publish("user_sequences", [])
    publish("campaign_outcomes", [exposure(CONTACTED, "coupon", "02-25"), exposure("u05", "control", "02-25")])
    rows = {row["user_id"]: {"user_id": row["user_id"], "events_total": 1, "purchases_total": row["purchases_total"]} for row in features}
    told = get_settings().models_dir / "uplift" / "3" / PROVENANCE_FILE
    told.parent.mkdir(parents=True)
    told.write_text('{"window": "2024-01-01/2024-02-01", "seed": 7}')  # before any campaign here
    front = CampaignFront(rows, {}, [])
    front.settings = get_settings()
    return front


def exposure(user: str, treatment: str, at: str, **more: Any) -> dict[str, Any]:
    known = {"campaign_id": "past", "propensity": 0.5, "cost": 0.5, "is_visited": True, "is_converted": False, "spend": 0.0}
    return {"user_id": user, "treatment": treatment, "assigned_at": day(at), "outcome_at": day("02-28"), **known, **more}


def asked(**more: Any) -> CampaignRequest:
    """A campaign as most tests have it: 6 of spend each for whoever is worth most, nobody held out but by name."""
    plain = {"name": "spring", "budget": 5.0, "margin": 0.5, "holdout": 0.2, "exclude_users": [EXCLUDED], "fatigue_days": 14}
    return CampaignRequest.of(plain | more)
