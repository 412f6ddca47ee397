"""MovieLens 100K and 1M: film ratings with demographics.

Publisher: GroupLens, University of Minnesota. Licence: research use, no redistribution.
Offered: on the data sets page of the GroupLens site.

Reads a folder `ml-100k` (`u.data`, `u.user`, `u.item`, `u.genre`) or `ml-1m` (`users.dat`, `movies.dat` and
`ratings_without_timestamps.csv.gz`, columns u, m, r in original order). Gives users, user_traits (gender, age_band, occupation), items
(title; the film's first genre as its category), item_attributes (every genre, and the year) and events (`rate`, rating 1 to 5).
ml-100k keeps its own times. The times of that ml-1m file are unusable for users above 2999, so only the order is taken: times are spread
over 180 days from 2000-05-01 (`order_only.py`), which makes it no time-ordered benchmark.
"""

import re
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from sources.errors import DataNotFound, FileRefused
from sources.files import landing_table
from sources.order_only import spread_over_period
from sources.published import note_unless_published

#: Published files that are read, and their md5 (of the unpacked content).
MD5_100K = {
    "u.data": "6e47046882bad158b0efbb84cd5cb987",
    "u.user": "1b53539edc13caad0282c8500608a319",
    "u.item": "c9e7f390115d79079537301d5204f3f7",
    "u.genre": "a7578bdb37758741ae9429d2c736af18",
}
MD5_1M = {
    "users.dat": "681c0711d0d4548cd3d4718a49c2dcd8",
    "movies.dat": "ef9fd9ff8d1b33faf73e2122c371e910",
    "ratings_without_timestamps.csv.gz": "2c2ca604f527c60ad2cc7c973d32efbc",
}
START_1M = date(2000, 5, 1)
AGE_BANDS = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (50, "45-49"), (56, "50-55"), (999, "56+"))
GENDERS = {"F": "female", "M": "male"}
OCCUPATIONS_1M = [
    "other",
    "educator",
    "artist",
    "clerical",
    "student",
    "customer service",
    "doctor",
    "executive",
    "farmer",
    "homemaker",
    "k-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales",
    "scientist",
    "self-employed",
    "technician",
    "tradesman",
    "unemployed",
    "writer",
]


class _Films(NamedTuple):
    """Users (user_id, gender, age, occupation), films (item_id, title, genres) and ratings (user_id, item_id, rating, occurred_at)."""

    users: pd.DataFrame
    films: pd.DataFrame
    ratings: pd.DataFrame


def read(data: Path, seed: int, options: dict[str, Any]) -> dict[str, pa.Table]:
    """users, user_traits, items, item_attributes and events of the folder `data`."""
    if (data / "u.data").is_file():
        (users, films, ratings), published = _read_100k(data), MD5_100K
    elif (data / "movies.dat").is_file():
        (users, films, ratings), published = _read_1m(data), MD5_1M
    else:
        raise DataNotFound(
            f"Source movielens reads a folder with u.data (ml-100k) or movies.dat (ml-1m). {data} has neither. Point at that folder."
        )

    for name, md5 in published.items():
        note_unless_published(data / name, md5, {"users": len(users), "films": len(films), "ratings": len(ratings)})

    first = ratings["occurred_at"].min().date()
    bands = users["age"].map(lambda age: next(name for below, name in AGE_BANDS if age < below))
    traits = pd.concat(
        pd.DataFrame({"user_id": users["user_id"], "trait": trait, "value": values})
        for trait, values in (("gender", users["gender"].map(GENDERS)), ("age_band", bands), ("occupation", users["occupation"]))
    ).sort_values("user_id", kind="stable")
    genres = films[["item_id", "genres"]].explode("genres").rename(columns={"genres": "value"}).assign(attribute="genre")
    years = films.assign(value=films["title"].str.extract(r"\((\d{4})\)\s*$")[0], attribute="year")[["item_id", "attribute", "value"]]
    attributes = pd.concat([genres, years]).dropna(subset=["value"])
    return {
        "users": landing_table("users", users[["user_id"]], [first] * len(users)),
        "user_traits": landing_table("user_traits", traits, [first] * len(traits)),
        "items": landing_table("items", films.assign(category=films["genres"].str[0]), [first] * len(films)),
        "item_attributes": landing_table("item_attributes", attributes, [first] * len(attributes)),
        "events": landing_table(
            "events",
            ratings.assign(event_id=ratings["user_id"] + "-" + ratings["item_id"], event_type="rate"),
            ratings["occurred_at"].to_numpy().astype("datetime64[D]"),
        ),
    }


def _read_100k(data: Path) -> _Films:
    names = [line.rsplit("|", 1)[0] for line in _lines(data / "u.genre") if line]
    users = _frame(data / "u.user", r"\|", ["user_id", "age", "gender", "occupation", "zip"])
    rows = [line.split("|") for line in _lines(data / "u.item") if line]
    films = pd.DataFrame(
        {
            "item_id": [row[0] for row in rows],
            "title": [row[1] for row in rows],
            "genres": [[name for name, flag in zip(names, row[5:], strict=True) if flag == "1"] for row in rows],
        }
    )
    ratings = _frame(data / "u.data", "\t", ["user_id", "item_id", "rating", "seconds"])
    ratings["occurred_at"] = pd.to_datetime(ratings["seconds"].astype("int64"), unit="s").astype("datetime64[us]")
    return _Films(users.astype({"age": int}), films, ratings.astype({"rating": float}))


def _read_1m(data: Path) -> _Films:
    users = _frame(data / "users.dat", "::", ["user_id", "gender", "age", "occupation", "zip"])
    users["occupation"] = [OCCUPATIONS_1M[int(code)] for code in users["occupation"]]
    films = _frame(data / "movies.dat", "::", ["item_id", "title", "genres"])
    films["genres"] = films["genres"].str.split("|")
    path = data / "ratings_without_timestamps.csv.gz"
    if not path.is_file():
        raise DataNotFound(f"An ml-1m folder needs {path.name} (columns u, m, r). {data} has none. Add the file.")
    ratings = pd.read_csv(path, usecols=["u", "m", "r"], dtype={"u": str, "m": str, "r": float})
    ratings = ratings.rename(columns={"u": "user_id", "m": "item_id", "r": "rating"})
    ratings["occurred_at"] = spread_over_period(ratings["user_id"].to_numpy(str), START_1M)
    return _Films(users.astype({"age": int}), films, ratings)


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataNotFound(f"This MovieLens folder needs {path.name}. {path.parent} has none. Unpack the publisher's archive whole.")
    return path.read_text(encoding="latin-1").splitlines()


def _frame(path: Path, separator: str, columns: list[str]) -> pd.DataFrame:
    rows = [re.split(separator, line) for line in _lines(path) if line]
    if not rows or any(len(row) != len(columns) for row in rows):
        raise FileRefused(f"Every line of {path.name} must have {len(columns)} fields: {columns}. {path} differs. Check the file.")
    return pd.DataFrame(rows, columns=columns)
