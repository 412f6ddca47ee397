"""The tables of `python -m benchmarks.gan`: Adult, Taiwan's credit cards, and who of a simulated shop stays away.

`python -m benchmarks.gan_tables OUT.csv` makes the last of these, from the simulated shop of the usual size and seed 7.
"""

import sys
from pathlib import Path

import pandas as pd

NAMES = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
]
CHURN_DAYS = 30
CHURN = (
    "The table of customers who stay away is made by `python -m benchmarks.gan_tables OUT.csv`: the simulated shop of the usual size, "
    f"seed 7, each customer by what was done until {CHURN_DAYS} days before the end; who did nothing after stays away."
)


def adult(path: Path) -> pd.DataFrame:
    """The rows of one of Adult's files; an unknown value is missing, `income` is `<=50K` or `>50K`."""
    table = pd.read_csv(path, names=NAMES, skipinitialspace=True, na_values="?", comment="|")
    for name in table.select_dtypes(exclude="number"):
        table[name] = table[name].astype(object).where(table[name].notna(), None)
    return table.assign(income=table["income"].str.rstrip(".").astype(object))


def credit(path: Path) -> pd.DataFrame:
    """Taiwan's card holders without their ids; `default` says who did not pay in the next month."""
    return pd.read_csv(path).drop(columns="ID").rename(columns={"default.payment.next.month": "default"})


def churn(seed: int) -> pd.DataFrame:
    """Customers by what they did until `CHURN_DAYS` before the end; `stays_away` says who did nothing after."""
    from training.evaluation import landing_tables
    from training.synthesize import as_frames
    from training.synthesize_profiles import profiles

    tables = as_frames(landing_tables("shop", None, seed, ("users", "user_traits", "items", "events")))
    events = tables["events"]
    end = events["occurred_at"].max().normalize() + pd.Timedelta(days=1)
    cut = end - pd.Timedelta(days=CHURN_DAYS)
    before, after = events[events["occurred_at"] < cut], events[(events["occurred_at"] >= cut) & (events["occurred_at"] < end)]
    tops = tables["items"].drop_duplicates("item_id").set_index("item_id")["category"].astype(str).str.split(" > ").str[0]
    rows = profiles(tables["users"], tables["user_traits"], before, tops, events["occurred_at"].min().normalize())
    rows = rows[rows["events"] > 0]
    rows["days_since_last"] = (
        (cut - before.groupby("user_id")["occurred_at"].max().reindex(rows.index)).dt.total_seconds() / 86_400
    ).round(2)
    return rows.assign(stays_away=(~rows.index.isin(after["user_id"])).astype(int)).reset_index(drop=True)


if __name__ == "__main__":
    churn(7).to_csv(sys.argv[1], index=False)
