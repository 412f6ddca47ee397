"""A catalogue like the shop's: its structure and prices stay, names and words do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.gan.columns import FEWEST_ROWS

PRICE_NOISE = 0.05


@dataclass(frozen=True)
class Catalogue:
    """Items of the copy, in the order of the shop's; `real_ids` say which item stands behind each, inside the house only.

    `leaf` and `top` `(items,)` are codes of the narrow and the broad category; `users` `(items,)` how many people met the item.
    """

    table: pd.DataFrame
    attributes: pd.DataFrame
    real_ids: np.ndarray
    leaf: np.ndarray
    top: np.ndarray
    users: np.ndarray
    tops: tuple[str, ...]


def copy_catalogue(items: pd.DataFrame, attributes: pd.DataFrame, events: pd.DataFrame, random: np.random.Generator) -> Catalogue:
    """The shop's items, and those seen in events only, in a new order under new ids.

    Titles are made of the category and a number, brands are numbered, descriptions are left out, prices move by some 5 %. An attribute's
    value stays where at least `FEWEST_ROWS` items have it.
    """
    seen = pd.Index(events["item_id"].dropna().unique())
    table = items.drop_duplicates("item_id").set_index("item_id")
    table = table.reindex(table.index.union(seen)).sample(frac=1.0, random_state=int(random.integers(2**31)))
    ids = np.array([f"si{number:06d}" for number in range(len(table))], dtype=object)
    category = table["category"].astype(object).where(table["category"].notna(), None)
    leaf, leaves = pd.factorize(category.fillna("Other"))
    broad, tops = pd.factorize(category.fillna("Other").str.split(" > ").str[0])
    brand = pd.factorize(table["brand"])[0]
    price = (table["price"].astype(float) * np.exp(random.normal(0, PRICE_NOISE, len(table)))).round(2)
    named = [f"{str(leaves[code]).rsplit(' > ', 1)[-1]} {number}" for number, code in enumerate(leaf)]
    made = pd.DataFrame(
        {
            "item_id": ids,
            "title": named,
            "category": category.to_numpy(),
            "brand": [f"Brand {code}" if code >= 0 else None for code in brand],
            "price": price.to_numpy(),
            "listed_at": table["listed_at"].dt.normalize().to_numpy() if "listed_at" in table else pd.NaT,
            "in_stock": table["in_stock"].to_numpy(),
        }
    )
    new = dict(zip(table.index, ids, strict=True))
    shared = attributes.groupby(["attribute", "value"])["item_id"].transform("nunique") >= FEWEST_ROWS if len(attributes) else []
    kept = attributes[shared] if len(attributes) else attributes
    told = kept.assign(item_id=kept["item_id"].map(new)).dropna(subset=["item_id"])[["item_id", "attribute", "value"]]
    met = events.groupby("item_id")["user_id"].nunique().reindex(table.index).fillna(0).to_numpy(np.int64)
    return Catalogue(
        made, told.sort_values(["item_id", "attribute", "value"]), table.index.to_numpy(), leaf, broad, met, tuple(map(str, tops))
    )
