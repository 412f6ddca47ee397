"""The Complete Journey: a year of grocery purchases of 2,406 households, with demographics, campaigns and coupons.

Publisher: dunnhumby, source files *The Complete Journey*. Licence: dunnhumby's own terms for its source files; the R package
completejourney, whose tables these are, declares CC0. Offered: on dunnhumby's page of source files; by that package, as Parquet tables.

Reads the folder's `transactions_sample` (100,000 lines), `demographics`, `products`, `campaigns`, `campaign_descriptions` and
`coupon_redemptions` (`.parquet`; its `coupons` and `promotions_sample` are not read). Gives:

* events: a line of a basket is a `purchase`; unit_price is what the store received, divided by the pieces (null where there are none;
  fuel is counted in thousandths of a gallon). Times are the file's own, taken as UTC. Lines are numbered in the file's order.
* users: every household of any table; user_traits: the demographics of 801 of them, known from the first day.
* items: title is the product type and the package size, category `department > category > type`, brand the maker's number. No price:
  that is what was paid. item_attributes: `brand` is National or Private.
* campaign_exposures: which household got which campaign, **not randomised** (propensity null) and with no row for those who got none: there
  is no control arm, so an uplift cannot be learned from it. treatment is the campaign's type (`type_a`: coupons chosen for the
  household, `type_b` and `type_c`: the same for all). A row comes on the campaign's first day and again, with its outcome, on the day after
  its last; campaigns that outlast the file have no outcome. *converted* is a coupon of this campaign redeemed (the file has
  all redemptions); *visited* is a coupon redeemed or a line in the sample while it ran, and *spend* the sample's money in that time: the
  sample has 7 % of all lines, so both are far too low in size and comparable only among households.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sources.cells import typed_columns
from sources.errors import DataNotFound
from sources.files import landing_table, read_parquet
from sources.landing import Kind
from sources.published import note_unless_published

#: File by name: md5 of the published one, and its columns.
FILES: dict[str, tuple[str, dict[str, Kind]]] = {
    "transactions_sample": (
        "40a29dc1d01016779cd649624f2b7cd8",
        {
            "household_id": "string",
            "basket_id": "string",
            "product_id": "string",
            "quantity": "float",
            "sales_value": "float",
            "transaction_timestamp": "timestamp",
        },
    ),
    "demographics": (
        "2779ee2d6963ab80344226f44f73dd6f",
        {
            "household_id": "string",
            "age": "string",
            "income": "string",
            "home_ownership": "string",
            "marital_status": "string",
            "household_size": "string",
            "household_comp": "string",
            "kids_count": "string",
        },
    ),
    "products": (
        "0c16bb5991faff2ca6335c210a228d8a",
        {
            "product_id": "string",
            "manufacturer_id": "string",
            "department": "string",
            "brand": "string",
            "product_category": "string",
            "product_type": "string",
            "package_size": "string",
        },
    ),
    "campaigns": ("5ac34edda82c4f0f79248f66e52a5224", {"campaign_id": "string", "household_id": "string"}),
    "campaign_descriptions": (
        "43dc64bd34d6f4aecd541043c42f8a0a",
        {"campaign_id": "string", "campaign_type": "string", "start_date": "date", "end_date": "date"},
    ),
    "coupon_redemptions": (
        "173118d2ad883c9f7b8ee8ae44e9513f",
        {"household_id": "string", "campaign_id": "string", "redemption_date": "date"},
    ),
}


def read(data: Path, seed: int, options: dict[str, Any]) -> dict[str, pa.Table]:
    """users, user_traits, items, item_attributes, events and campaign_exposures of the folder `data`."""
    files = {name: _file(data, name) for name in FILES}
    lines, products = files["transactions_sample"], files["products"]
    first = lines["transaction_timestamp"].min().date()
    households = sorted({one for rows in files.values() if "household_id" in rows for one in rows["household_id"]}, key=int)
    traits = files["demographics"].melt("household_id", var_name="trait").dropna().rename(columns={"household_id": "user_id"})
    return {
        "users": landing_table("users", {"user_id": households}, [first] * len(households)),
        "user_traits": landing_table("user_traits", traits, [first] * len(traits)),
        "items": _items(products, first),
        "item_attributes": landing_table(
            "item_attributes",
            {"item_id": products["product_id"], "attribute": ["brand"] * len(products), "value": products["brand"]},
            [first] * len(products),
        ),
        "events": _events(lines),
        "campaign_exposures": _exposures(files, first),
    }


def _file(data: Path, name: str) -> pd.DataFrame:
    path, (md5, kinds) = data / f"{name}.parquet", FILES[name]
    if not path.is_file():
        wanted = [f"{file}.parquet" for file in FILES]
        raise DataNotFound(f"Source complete_journey reads a folder with {wanted}. {data} has no {path.name}. Add the file.")
    rows = typed_columns(read_parquet(path), kinds, path, f"The Complete Journey's {name}")
    note_unless_published(path, md5, {"rows": rows.num_rows})
    return rows.to_pandas()


def _items(products: pd.DataFrame, first: date) -> pa.Table:
    path = products[["department", "product_category", "product_type"]]
    columns = {
        "item_id": products["product_id"],
        "title": [" ".join(filter(None, words)) or None for words in zip(products["product_type"], products["package_size"], strict=True)],
        "category": [" > ".join(filter(None, names)) for names in path.itertuples(index=False)],
        "brand": "maker " + products["manufacturer_id"],
    }
    return landing_table("items", columns, [first] * len(products))


def _events(lines: pd.DataFrame) -> pa.Table:
    columns = {
        "event_id": [f"j{number:06}" for number in range(len(lines))],
        "user_id": lines["household_id"],
        "item_id": lines["product_id"],
        "event_type": ["purchase"] * len(lines),
        "occurred_at": lines["transaction_timestamp"],
        "session_id": lines["basket_id"],
        "order_id": lines["basket_id"],
        "quantity": lines["quantity"],
        "unit_price": lines["sales_value"] / lines["quantity"].where(lines["quantity"] > 0),
    }
    return landing_table("events", columns, lines["transaction_timestamp"].to_numpy().astype("datetime64[D]"))


def _exposures(files: dict[str, pd.DataFrame], first: date) -> pa.Table:
    """One row an exposure on its first day, and again with the outcome on the day after its last."""
    sent = files["campaigns"].merge(files["campaign_descriptions"], on="campaign_id", validate="many_to_one")
    redeemed = files["coupon_redemptions"].groupby(["campaign_id", "household_id"]).size().rename("redeemed").reset_index()
    lines = files["transactions_sample"].assign(day=files["transactions_sample"]["transaction_timestamp"].dt.date)
    both = sent.merge(lines[["household_id", "day", "sales_value"]], on="household_id")
    within = both[(both["day"] >= both["start_date"]) & (both["day"] <= both["end_date"])]
    spent = within.groupby(["campaign_id", "household_id"])["sales_value"].agg(["size", "sum"]).reset_index()
    keys = ["campaign_id", "household_id"]
    sent = sent.merge(redeemed, on=keys, how="left").merge(spent, on=keys, how="left").fillna({"redeemed": 0, "size": 0, "sum": 0.0})

    outcome = np.array([day + timedelta(days=1) for day in sent["end_date"]], dtype="datetime64[D]")
    columns = {
        "campaign_id": sent["campaign_id"],
        "user_id": sent["household_id"],
        "assigned_at": pd.to_datetime(sent["start_date"]),
        "treatment": sent["campaign_type"].str.lower().str.replace(" ", "_"),
    }
    known = outcome <= np.datetime64(lines["day"].max())
    after = {
        **{name: values[known] for name, values in columns.items()},
        "visited": ((sent["redeemed"] > 0) | (sent["size"] > 0))[known],
        "converted": (sent["redeemed"] > 0)[known],
        "spend": sent["sum"][known],
        "outcome_at": outcome[known].astype("datetime64[us]"),
    }
    begun = [max(day, first) for day in sent["start_date"]]
    return pa.concat_tables(
        [landing_table("campaign_exposures", columns, begun), landing_table("campaign_exposures", after, outcome[known])]
    )
