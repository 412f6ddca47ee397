"""Lists to send a campaign by, under `campaigns/<name>/exports/`: users by offer for coupons and e-mail, hashed audiences for advertisers.

An identifier for an advertiser is HMAC-SHA-256, in hex, of the user id after NFKC, strip and lower case, under a key of the campaign's own
that is derived from a secret of the house: nobody can undo it by trying ids, and two campaigns' lists cannot be joined. Who holds the
house can match what comes back, by hashing its users again.
"""

import csv
import hashlib
import hmac
import io
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa

from serving.campaign_files import CONTROL, folder, write_table
from serving.keys import write_private
from settings import Settings
from sources.durable import replace_text

LIST = pa.schema([("user_id", pa.string()), ("offer", pa.string()), ("segment", pa.string())])
HASHED = pa.schema([("hashed_id", pa.string())])


def export(name: str, assignments: pa.Table, channels: Mapping[str, str], settings: Settings) -> list[Path]:
    """Writes a list as CSV and Parquet for every offer that somebody gets; `channels` says how each offer is sent. Returns the files."""
    rows = assignments.select(["user_id", "arm", "segment"]).to_pylist()
    made = []
    for offer, channel in channels.items():
        own = [row for row in rows if row["arm"] != CONTROL and offer in row["arm"].split("+")]
        if not own:
            continue
        if channel == "ad":
            key = campaign_key(name, settings)
            columns: dict[str, list[str]] = {"hashed_id": sorted(hashed(row["user_id"], key) for row in own)}  # the order tells nothing
            schema, stem = HASHED, f"ad-{offer}"
        else:
            columns = {"user_id": [row["user_id"] for row in own], "offer": [offer] * len(own), "segment": [row["segment"] for row in own]}
            schema, stem = LIST, f"{channel}-{offer}"
        for suffix in ("parquet", "csv"):
            path = folder(settings, name) / "exports" / f"{stem}.{suffix}"
            if suffix == "parquet":
                write_table(path, columns, schema)
            else:
                replace_text(path, _as_csv(columns))
            made.append(path)
    return made


def hashed(user_id: str, key: bytes) -> str:
    """The identifier of a user for an advertiser."""
    return hmac.new(key, unicodedata.normalize("NFKC", user_id).strip().lower().encode(), hashlib.sha256).hexdigest()


def campaign_key(name: str, settings: Settings) -> bytes:
    """The key of one campaign, from the house's secret, which is made once."""
    file = settings.home / "secrets" / "audience_secret"
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32))
    return hmac.new(file.read_bytes(), f"campaign {name}".encode(), hashlib.sha256).digest()


def exported(name: str, settings: Settings) -> list[str]:
    """Names of the files that are there."""
    return sorted(path.name for path in (folder(settings, name) / "exports").glob("*.*") if not path.name.startswith("."))


def _as_csv(columns: Mapping[str, Iterable[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(map(safe_cell, values) for values in columns.values()), strict=True))
    return out.getvalue()


def safe_cell(value: str) -> str:
    """No cell is a formula to a spreadsheet."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
