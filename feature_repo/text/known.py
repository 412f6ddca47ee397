"""What was known when: every version of an item's text, and the histories in which items met, from published marts."""

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import scipy.sparse as sp

from feature_repo.published import connect, from_clause
from feature_repo.text.tokens import tokens

MOST_HISTORIES = 50_000  # users whose histories are read for one fit, chosen by a hash of their id


@dataclass(frozen=True)
class TextVersion:
    """The words of an item from `known_at` on, until its next version; none where a text was taken back."""

    item_id: str
    known_at: datetime
    words: tuple[str, ...]


def text_versions() -> list[TextVersion]:
    """By item and time, every version in which an item's words differ from what was known of it before; the first only if it has any.

    What is known of an item at a time is its row with the newest `features_at`, then `created_at`, among those created by then, as in
    `frames.rows_as_of`. Words are those of the title and the description, and each attribute (`attribute=value`) as one.
    """
    texts = "coalesce(title, ''), coalesce(description, ''), coalesce(attributes, [])"
    query = f"""
        with hashed as (
            select item_id, features_at, created_at, hash({texts}) as text from {from_clause("item_features")}
        ),
        known as (
            select distinct item_id, created_at as known_at,
                max(row(features_at, created_at, text)) over (partition by item_id order by created_at) as newest
            from hashed
        ),
        changed as (
            select item_id, known_at, newest from known
            qualify newest[3] is distinct from lag(newest[3]) over (partition by item_id order by known_at)
        )
        select item_id, known_at, {texts}
        from changed join {from_clause("item_features")} using (item_id)
        where features_at = newest[1] and created_at = newest[2]
        order by item_id, known_at
    """
    versions: list[TextVersion] = []
    with connect() as connection:
        for item_id, known_at, title, description, attributes in connection.execute(query).fetchall():
            words = (*tokens(title), *tokens(description), *(attribute.casefold() for attribute in attributes))
            before = versions[-1].words if versions and versions[-1].item_id == item_id else ()
            if words != before:
                versions.append(TextVersion(item_id, known_at, words))
    return versions


def newest_known() -> datetime | None:
    """The newest time at which anything of an item became known; None where no item is published."""
    with connect() as connection:
        row = connection.execute(f"select max(created_at) from {from_clause('item_features')}").fetchone()
    return row[0] if row else None


def known_texts(versions: list[TextVersion], at: datetime) -> list[TextVersion]:
    """The newest version of every item known at `at` that has words, by item."""
    newest = {version.item_id: version for version in versions if version.known_at <= at}
    return [version for version in newest.values() if version.words]


def histories(item_ids: list[str], at: datetime) -> sp.csr_matrix:
    """Users' newest histories known at `at`, `(users, items)`: one where an item stands in one; returns and users of one item left out."""
    query = f"""
        with winner as (
            select user_id, max(row(features_at, created_at)) as newest from {from_clause("user_sequences")}
            where features_at <= $at and created_at <= $at group by user_id order by md5(user_id), user_id limit {MOST_HISTORIES}
        ),
        events as (
            select user_id, unnest(event_item_ids) as item_id, unnest(event_types) as event_type
            from {from_clause("user_sequences")} join winner using (user_id)
            where features_at = newest[1] and created_at = newest[2]
        ),
        met as (select distinct user_id, place from events join items using (item_id) where event_type <> 'return')
        select dense_rank() over (order by user_id) - 1 as history, place from met
        qualify count(*) over (partition by user_id) > 1
        order by history, place
    """
    import pandas as pd

    with connect() as connection:
        connection.register("items", pd.DataFrame({"item_id": item_ids, "place": np.arange(len(item_ids))}))
        found = connection.execute(query, {"at": at}).fetchnumpy()
    _, rows = np.unique(found["history"], return_inverse=True)
    shape = (int(rows.max(initial=-1)) + 1, len(item_ids))
    return sp.csr_matrix((np.ones(len(rows)), (rows, found["place"].astype(np.int64))), shape=shape)


def cut_offs(first: datetime, last: datetime) -> list[datetime]:
    """`first`, and every first of a month (midnight) after it up to `last`."""
    months = range(first.year * 12 + first.month, last.year * 12 + last.month)
    return [first, *(datetime.combine(date(month // 12, month % 12 + 1, 1), datetime.min.time()) for month in months)]
