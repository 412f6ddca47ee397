"""A shop small enough to check by hand (users u0 to u3), beside random users r0 to r5 whose events come late, twice or corrected.

`deliveries()[ds][table]` lists what each landing day brought.
"""

import random
from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

from quality.warehouse import open_warehouse
from sources.landing import LANDING

Row = dict[str, Any]
Deliveries = dict[date, dict[str, list[Row]]]

FIRST, LAST = date(2024, 1, 1), date(2024, 2, 10)
OPENED = datetime.fromisoformat("2023-12-15")  # the account of u1
HORIZON = datetime.fromisoformat("2024-02-11")


def day(text: str) -> datetime:
    """Midnight of `MM-DD` in 2024."""
    return datetime.fromisoformat(f"2024-{text}")


def event(event_id: str, user_id: str | None, item_id: str, event_type: str, at: str, unit_price: float | None = None, **more: Any) -> Row:
    occurred_at = datetime.fromisoformat(f"2024-{at}")
    return {
        "event_id": event_id,
        "user_id": user_id,
        "item_id": item_id,
        "event_type": event_type,
        "occurred_at": occurred_at,
        "unit_price": unit_price,
    } | more


def portrait(at: str, version: str) -> Row:
    """What the model of `version` said of u1."""
    return {"user_id": "u1", "as_of": day(at), "model_version": version, "vector": [0.5, -0.5], "portrait": '{"segment": "quiet"}'}


def decision(decision_id: str, user_id: str | None, subject: str, at: str, **more: Any) -> Row:
    """One decision of the recommender, shown first."""
    return {
        "decision_id": decision_id,
        "decided_at": datetime.fromisoformat(f"2024-{at}"),
        "user_id": user_id,
        "kind": "recommendation",
        "subject": subject,
        "rank": 1,
        "propensity": 0.5,
        "arm": "stable",
        "model": "recommender",
        "model_version": "1",
        "features_at": datetime.fromisoformat(f"2024-{at}"),
    } | more


def _orders_at_random(seed: int) -> Deliveries:
    """Orders of few accounts by few instruments, some late, at the same moment, or delivered again otherwise; a third are charged back."""
    draw = random.Random(seed)
    deliveries: Deliveries = defaultdict(lambda: defaultdict(list))
    last = (LAST - FIRST).days
    for number in range(140):
        placed, moment = draw.randrange(last), draw.choice(("00:00:00", "09:00:00", "09:40:00", "09:40:00", "23:59:59"))
        row: Row = {"order_id": f"w{number:03}", "placed_at": datetime.fromisoformat(f"{FIRST + timedelta(days=placed)} {moment}")}
        row |= {"user_id": draw.choice(("u0", "u1", "r0", "r1", "r2", None)), "amount": draw.choice((5.0, 7.25, 300.0, None))}
        row |= {
            name: draw.choice((f"{name[0]}0", f"{name[0]}1", f"{name[0]}2", None)) for name in ("payment_id", "device_id", "address_id")
        }
        known = placed + draw.choice((0, 0, 0, 0, 2))
        again = known + draw.randrange(1, 4)
        for ds, change in ((known, {}), (again, {"amount": 1.0, "device_id": "d9"} if draw.random() < 0.2 else None)):
            if change is not None and ds <= last:
                deliveries[FIRST + timedelta(days=ds)]["orders"].append(row | change)
        reported = placed + draw.randrange(3, 14)
        if draw.random() < 0.35:
            report = {"order_id": row["order_id"], "reported_at": datetime.fromisoformat(f"{FIRST + timedelta(days=reported)} 12:00")}
            for ds in dict.fromkeys((reported, reported + draw.choice((0, 0, 3)))):
                if ds <= last:
                    deliveries[FIRST + timedelta(days=ds)]["chargebacks"].append(
                        report | {"reported_at": report["reported_at"] + timedelta(hours=ds - reported)}
                    )
    return deliveries


def _by_hand() -> Deliveries:
    e2 = event("e2", "u1", "i2", "view", "01-01 10:10")
    return {
        date(2024, 1, 1): {
            "users": [
                {"user_id": "u0", "registered_at": day("01-01"), "country": "FR"},
                {"user_id": "u1", "registered_at": OPENED, "country": "NL", "consent_credit": True, "consent_marketing": True},
            ],
            "user_traits": [{"user_id": "u1", "trait": "gender", "value": "f", "shop_known_at": None}],
            "items": [
                {"item_id": "i1", "title": "Sencha", "category": "Tea > Green", "price": 4.0},
                {"item_id": "i2", "title": "Cup", "category": "Cups", "price": None},
            ],
            "item_attributes": [
                {"item_id": "i2", "attribute": "size", "value": "L"},
                {"item_id": "i2", "attribute": "colour", "value": "red"},
            ],
            "events": [event("e1", "u1", "i1", "purchase", "01-01 10:00", 5.0, quantity=2.0), e2],
            "portraits": [portrait("01-01", "1")],
            "decisions": [
                decision("a.1", "u1", "i2", "01-01 10:10"),
                decision("a.2", "u1", "i1", "01-01 09:59", rank=2),
                decision("a.3", "u1", "i9", "01-01 10:10", rank=None),
                decision("b.1", None, "i2", "01-01 10:10"),
                decision("o.1", "u1", "mail", "01-01 00:00", kind="offer", model="uplift"),
                decision("o.2", "u1", "coupon", "01-01 00:00", kind="offer", model="uplift"),
            ],
            "campaign_exposures": [
                {
                    "campaign_id": "c1",
                    "user_id": "u1",
                    "assigned_at": day("01-01"),
                    "treatment": "mail",
                    "visited": None,
                    "covariates": '{"x_age": 3}',
                }
            ],
            "credit_applications": [
                {"application_id": "a1", "user_id": "u1", "applied_at": day("01-01"), "amount": 50.0, "covariates": '{"x_income": 3}'}
            ],
        },
        date(2024, 1, 2): {
            "events": [event("e6", None, "i2", "purchase", "01-02 08:00", 9.0), event("e7", "u2", "i9", "view", "01-02 08:00")]
        },
        date(2024, 1, 5): {
            "events": [event("e3", "u1", "i1", "return", "01-05 09:00", 5.0), event("e5", "u1", "i2", "purchase", "01-05 09:30", 3.0)],
            "decisions": [decision("c.1", "u1", "i2", "01-05 09:30")],
        },
        date(2024, 1, 6): {"events": [event("e4", "u1", "i2", "purchase", "01-03 12:00", 7.0)]},  # three days late
        date(2024, 1, 7): {"events": [e2]},  # delivered twice
        date(2024, 1, 8): {"events": [event("e5", "u1", "i2", "purchase", "01-05 09:30", 4.0)]},  # corrected
        date(2024, 1, 10): {"users": [{"user_id": "u1", "registered_at": OPENED, "country": "BE", "consent_credit": False}]},
        date(2024, 1, 20): {
            "items": [{"item_id": "i1", "title": "Arabica", "category": "Coffee > Beans", "price": 4.0}],
            "user_traits": [{"user_id": "u1", "trait": "gender", "value": "m", "shop_known_at": day("01-15")}],
            "campaign_exposures": [
                {
                    "campaign_id": "c1",
                    "user_id": "u1",
                    "assigned_at": day("01-01"),
                    "treatment": "mail",
                    "visited": True,
                    "covariates": '{"x_age": 3}',
                }
            ],
            "credit_applications": [
                {
                    "application_id": "a1",
                    "user_id": "u1",
                    "applied_at": day("01-01"),
                    "amount": 50.0,
                    "defaulted": True,
                    "outcome_at": day("01-19"),
                    "covariates": '{"x_income": 3}',
                }
            ],
        },
        LAST: {
            "events": [event("e8", "u3", "i1", "view", "02-10 12:00")],
            "portraits": [portrait("02-09", "2"), portrait("02-10", "2")],
            "decisions": [
                decision("d.1", "u3", "i1", "02-09 00:00"),
                decision("d.2", "u3", "i1", "02-10 00:00"),
                decision("d.3", "u3", "i1", "02-10 12:00"),
            ],
        },
    }


def _at_random(seed: int) -> Deliveries:
    draw = random.Random(seed)
    deliveries: Deliveries = defaultdict(lambda: defaultdict(list))
    last = (LAST - FIRST).days

    def deliver(row: Row, number: int) -> None:
        if number <= last:
            rows = deliveries[FIRST + timedelta(days=number)]["events"]
            rows[:] = [other for other in rows if other["event_id"] != row["event_id"]] + [row]

    for number in range(160):
        occurred = draw.randrange(last)
        user = draw.randrange(7)
        at = f"{FIRST + timedelta(days=occurred)} {draw.randrange(9, 12):02}:{draw.choice((0, 20, 40)):02}:00"[5:]
        kind = draw.choice(("view", "favourite", "cart", "purchase", "purchase", "return", "rate"))
        row = event(f"r{number:03}", f"r{user}" if user < 6 else None, f"j{draw.randrange(5)}", kind, at, round(draw.uniform(1, 9), 2))
        row["session_id"] = f"s{user}-{occurred}-{draw.randrange(2)}" if user < 2 else None
        row["rating"] = float(draw.randrange(1, 6)) if kind == "rate" else None
        known = occurred + draw.choice((0, 0, 0, 0, 1, 3, 12))
        deliver(row, known)
        if draw.random() < 0.15:
            deliver(row, known + draw.randrange(1, 9))
        if draw.random() < 0.15:
            changed = row | draw.choice(({"unit_price": 2.5}, {"user_id": "r5"}, {"item_id": "j4"}, {"event_type": "view"}))
            deliver(changed, known + draw.randrange(1, 9))
    for number in range(120):
        decided, name = draw.randrange(last + 1), f"r{number:03}.1"
        at = f"{FIRST + timedelta(days=decided)} {draw.randrange(9, 12):02}:10:00"[5:]
        row = decision(
            name, f"r{draw.randrange(6)}", f"j{draw.randrange(5)}", at, score=draw.random(), arm=draw.choice(("canary", "stable"))
        )
        known = [ds for ds in (decided, decided + draw.choice((0, 1, 5))) if ds <= last]
        for ds in dict.fromkeys(known):
            deliveries[FIRST + timedelta(days=ds)]["decisions"].append(row | {"rank": 1 + draw.randrange(2)})
    for item in range(5):
        for number in range(0, last, 1 + 9 * item):
            price = None if item < 3 else float(item + number % 2)
            deliveries[FIRST + timedelta(days=number)]["items"].append(
                {"item_id": f"j{item}", "category": f"k{(item + number) % 3}", "price": price}
            )
    return deliveries


def deliveries(seed: int = 7) -> Deliveries:
    merged: Deliveries = defaultdict(lambda: defaultdict(list))
    for part in (_by_hand(), _at_random(seed), _orders_at_random(seed)):
        for ds, tables in part.items():
            for table, rows in tables.items():
                merged[ds][table] += rows
    return merged


def load(delivered: dict[date, dict[str, list[Row]]], start: date, end: date) -> None:
    """Replaces the landing days [start, end), as `quality.load.load_window` would."""
    with open_warehouse() as warehouse:
        for table in LANDING:
            warehouse.execute(f"delete from landing.{table} where ds >= ? and ds < ?", [start, end])
        for ds, tables in delivered.items():
            if not start <= ds < end:
                continue
            known_at = datetime.combine(ds, datetime.min.time()) + timedelta(days=1)
            for table, rows in tables.items():
                for row in rows:
                    filled = row | {"ds": ds, "known_at": known_at}
                    marks = ", ".join("?" for _ in filled)
                    warehouse.execute(f"insert into landing.{table} ({', '.join(filled)}) values ({marks})", list(filled.values()))
