"""Segments as a file for other programs: who is in which, of those who agreed to marketing alone.

The house's least number counts after consent: a segment that has too few customers left is put together with others or left out, as on the
page. The file appears when it is whole, under `segments/` of the house.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from feature_repo.consent import agreed
from serving.campaign_exports import safe_cell
from serving.errors import BadRequest, NotServed
from serving.segment_members import Kind, People, division, people
from settings import get_settings
from sources.durable import replace_whole

Format = Literal["parquet", "csv"]
SCHEMA = pa.schema([("user_id", pa.string()), ("kind", pa.string()), ("segment", pa.string()), ("as_of", pa.timestamp("us"))])


@dataclass(frozen=True)
class Exported:
    """Where the rows stand, how many by segment, and how many customers had not agreed."""

    path: Path
    rows: dict[str, int]
    without_consent: int

    def as_text(self) -> str:
        told = ", ".join(f"{name} {count:,}" for name, count in self.rows.items()) or "no segment is large enough"
        return f"{told}; {self.without_consent:,} customers had not agreed to marketing and are left out: {self.path}"


def export(kind: Kind, as_of: datetime, format: Format = "parquet") -> Exported:
    """Writes one row a customer and segment as known at `as_of`; the same question gives the same file."""
    settings, everyone = get_settings(), people(as_of)
    reachable = who_agreed(everyone)
    members = division(kind, reachable, settings.least_segment).members
    path = settings.home / "segments" / f"{kind}-{as_of:%Y-%m-%d}.{format}"
    write_members(path, kind, as_of, members)
    counts = {name: len(users) for name, users in members.items()}
    return Exported(path, counts, len(everyone.features) - len(reachable.features))


def who_agreed(everyone: People) -> People:
    """The same people without those who have not agreed to marketing."""
    try:
        consenting = agreed("marketing", everyone.at)
    except FileNotFoundError as missing:
        raise NotServed(f"Customers leave the house only where consents are known. {missing}") from missing
    features = everyone.features[everyone.features.index.isin(consenting)]
    portraits = {user: told for user, told in everyone.portraits.items() if user in consenting}
    vectors = {user: vector for user, vector in everyone.vectors.items() if user in consenting}
    return People(everyone.at, features, portraits, vectors, everyone.model_versions, everyone.told_at)


def write_members(path: Path, kind: str, as_of: datetime, members: Mapping[str, Sequence[str] | np.ndarray]) -> None:
    """The file, by the ending of its name; in CSV no cell is a formula to a spreadsheet."""
    names = [name for name, users in members.items() for _ in users]
    users = [str(user) for one in members.values() for user in one]
    if path.suffix == ".csv":
        users, names = ([safe_cell(value) for value in values] for values in (users, names))
    rows = pa.table({"user_id": users, "kind": [kind] * len(users), "segment": names, "as_of": [as_of] * len(users)}, SCHEMA)
    rows = rows.sort_by([("segment", "ascending"), ("user_id", "ascending")])
    if path.suffix not in (".parquet", ".csv"):
        raise BadRequest(f"Segments are written as .parquet or .csv. Received {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    write = pq.write_table if path.suffix == ".parquet" else pa_csv.write_csv
    replace_whole(path, partial(write, rows))
