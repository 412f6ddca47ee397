"""Ordered Amazon purchases, one line per user, with item attributes.

Publisher: J. McAuley, UCSD (Amazon product data), in the 5-core preparation published with the recommender S3-Rec. Licence: research use.
Offered: on the product data page of McAuley's group; the prepared text files in the S3-Rec authors' code repository.

Reads a folder with one `*.txt` (a line per user: `user item item ...`, in order) and, if it is there, its `*_item2attributes.json`
(`{item: [attribute, ...]}`). Gives items (ids only: titles are not published), item_attributes (`attribute` = number of the
attribute) and events (`purchase`). Only the order is known: times are spread over 180 days from 2014-01-01 (`order_only.py`).
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sources.errors import DataNotFound, FileRefused
from sources.files import landing_table
from sources.order_only import spread_over_period
from sources.published import note_unless_published

MD5_SEQUENCES = "cb03635343187f36526ed4ba48102b53"  # of Beauty.txt: 22,363 users, 12,101 items, 198,502 purchases
MD5_ATTRIBUTES = "d4955784543b9e8e68385db31cb30144"  # of Beauty_item2attributes.json
START = date(2014, 1, 1)


def read(data: Path, seed: int, options: dict[str, Any]) -> dict[str, pa.Table]:
    """items, item_attributes and events of the folder `data`."""
    texts = sorted(data.glob("*.txt")) if data.is_dir() else [data]
    if len(texts) != 1:
        raise DataNotFound(
            f"Source amazon_sequences reads a folder with one *.txt. {data} has {len(texts)}. Keep one data set to a folder."
        )
    users, items = _sequences(texts[0])
    times = spread_over_period(users, START)
    item_ids = _in_order_of_number(items)
    described = texts[0].with_name(f"{texts[0].stem}_item2attributes.json")
    attributes = _attributes(described) if described.is_file() else []
    counted = {"users": len(np.unique(users)), "items": len(item_ids), "purchases": len(users)}
    note_unless_published(texts[0], MD5_SEQUENCES, counted)
    if described.is_file():
        note_unless_published(described, MD5_ATTRIBUTES, counted)
    tables = {
        "items": landing_table("items", {"item_id": item_ids}, [START] * len(item_ids)),
        "events": landing_table(
            "events",
            {
                "event_id": np.char.add("a", np.arange(len(users)).astype(str)),
                "user_id": users,
                "item_id": items,
                "event_type": np.full(len(users), "purchase"),
                "occurred_at": times,
            },
            times.astype("datetime64[D]"),
        ),
    }
    if attributes:
        owner, value = zip(*attributes, strict=True)
        columns = {"item_id": owner, "attribute": ["attribute"] * len(owner), "value": value}
        tables["item_attributes"] = landing_table("item_attributes", columns, [START] * len(owner))
    return tables


def _sequences(path: Path) -> tuple[np.ndarray, np.ndarray]:
    users: list[str] = []
    items: list[str] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as problem:
        raise FileRefused(f"A line must be `user item item ...` in UTF-8. {path} is not text. Check the file.") from problem
    for number, line in enumerate(lines, 1):
        user, *bought = line.split(" ") if line.strip() else [""]
        if not user or not all(bought) or not bought or not all(word.isalnum() for word in (user, *bought)):
            raise FileRefused(f"A line must be `user item item ...`. Line {number} of {path} is '{line[:60]}'. Check the file.")
        users += [user] * len(bought)
        items += bought
    if not users:
        raise FileRefused(f"A line must be `user item item ...`. {path} has no line. Check the file.")
    return np.array(users), np.array(items)


def _attributes(path: Path) -> list[tuple[str, str]]:
    try:
        return [(str(item), str(value)) for item, values in json.loads(path.read_text()).items() for value in values]
    except (ValueError, AttributeError, TypeError) as problem:
        raise FileRefused(f"The attributes must be JSON: {{item: [attribute, ...]}}. {path} is not: {problem}.") from problem


def _in_order_of_number(ids: np.ndarray) -> np.ndarray:
    unique = np.unique(ids)
    return unique[np.lexsort((unique, np.char.str_len(unique)))]
