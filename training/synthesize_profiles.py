"""A shop's customers as one table, a row each: who they are and how they behave; what the GAN learns, and what nearness is judged by."""

from __future__ import annotations

import numpy as np
import pandas as pd

TRAIT = "trait: "
CONSENTS = ("consent_personalisation", "consent_marketing", "consent_credit")
DAY_S = 86_400.0
#: What is known of a customer from events alone.
BEHAVIOUR = ("events", "visits", "purchases", "first_day", "span_days", "favourite")


def profiles(
    users: pd.DataFrame, traits: pd.DataFrame, events: pd.DataFrame, tops: pd.Series, start: pd.Timestamp, behaviour_only: bool = False
) -> pd.DataFrame:
    """One row per customer, by `user_id`: country, city, consents, traits, the day of registering, and the `BEHAVIOUR`.

    `tops` maps an item to its broad category; days count from `start`. A column that nobody has is left out.
    """
    known = events[events["user_id"].notna()]
    seconds = (known["occurred_at"] - start).dt.total_seconds()
    kind = pd.DataFrame({"user_id": known["user_id"], "at": seconds, "bought": known["event_type"] == "purchase"})
    kind["top"] = known["item_id"].map(tops).fillna("Other").to_numpy()
    kind = kind.sort_values(["user_id", "at"], kind="stable")
    gap = kind.groupby("user_id")["at"].diff()
    grouped = kind.assign(is_new=gap.isna() | (gap > 1800)).groupby("user_id")
    behaviour = pd.DataFrame(
        {
            "events": grouped.size(),
            "visits": grouped["is_new"].sum(),
            "purchases": grouped["bought"].sum(),
            "first_day": (grouped["at"].min() / DAY_S).round(2),
            "span_days": ((grouped["at"].max() - grouped["at"].min()) / DAY_S).round(2),
        }
    )
    counts = (
        kind.groupby(["user_id", "top"]).size().reset_index(name="n").sort_values(["user_id", "n", "top"], ascending=[True, False, True])
    )
    behaviour["favourite"] = counts.drop_duplicates("user_id").set_index("user_id")["top"]
    if behaviour_only:
        return behaviour
    people = users.drop_duplicates("user_id").set_index("user_id")
    found = pd.DataFrame(index=people.index.union(behaviour.index))
    for name in ("country", "city", *CONSENTS):
        found[name] = people[name].astype(object).where(people[name].notna(), None).reindex(found.index)
    found["registered_day"] = ((people["registered_at"] - start).dt.total_seconds() / DAY_S).round(2).reindex(found.index)
    for trait, rows in traits.drop_duplicates(["user_id", "trait"]).groupby("trait"):
        found[f"{TRAIT}{trait}"] = rows.set_index("user_id")["value"].reindex(found.index).astype(object)
    found = found.join(behaviour)
    for name in ("events", "visits", "purchases"):
        found[name] = found[name].fillna(0).astype("int64")
    for name in found.select_dtypes(exclude="number"):
        found[name] = found[name].astype(object).where(found[name].notna(), None)
    return found.dropna(axis=1, how="all")


def as_users(rows: pd.DataFrame, start: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The landing tables `users` and `user_traits` of drawn profiles; new ids, `user_id` in their order."""
    ids = np.array([f"su{number:07d}" for number in range(len(rows))], dtype=object)
    users = pd.DataFrame({"user_id": ids})
    for name in ("country", "city", *CONSENTS):
        users[name] = rows[name].to_numpy() if name in rows else None
    users["registered_at"] = pd.NaT
    if "registered_day" in rows:
        users["registered_at"] = start + pd.to_timedelta(rows["registered_day"].to_numpy(np.float64) * DAY_S, unit="s").round("us")
    told = [
        pd.DataFrame(
            {"user_id": ids, "trait": name.removeprefix(TRAIT), "value": rows[name].to_numpy(), "known_at": users["registered_at"]}
        )
        for name in rows.columns
        if name.startswith(TRAIT)
    ]
    traits = (
        pd.concat(told, ignore_index=True).dropna(subset=["value"])
        if told
        else pd.DataFrame(columns=["user_id", "trait", "value", "known_at"])
    )
    return users, traits
