"""Hillstrom's e-mail challenge: 64,000 customers, three random arms, what they did in the two weeks after.

Publisher: K. Hillstrom, MineThatData E-Mail Analytics and Data Mining Challenge, 20 March 2008. Licence: none stated; offered to all comers
as a public challenge. Offered: in the challenge's post on the MineThatData blog, as CSV.

Reads the CSV, packed (`.csv.gz`) or not. Gives campaign_exposures: one campaign, arms `control`, `mens_email` and `womens_email` assigned
with probability 1/3 each; visited, converted and spend within two weeks; the eight columns known before as `x_*` covariates, unchanged.
The file has neither ids nor dates: a user's id is the number of the row (`h00000` on), the assignment stands on the challenge's day and
the outcome two weeks later, the day that brings the rows.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sources.cells import read_csv, typed_columns
from sources.errors import DataNotFound, FileRefused
from sources.files import landing_table
from sources.landing import Kind
from sources.published import note_unless_published

MD5 = "0af45f3c7ee495ed5654b398b1aab809"  # of the unpacked CSV, 64,000 rows
ASSIGNED = date(2008, 3, 20)
OUTCOME = ASSIGNED + timedelta(days=14)
ARMS = {"No E-Mail": "control", "Mens E-Mail": "mens_email", "Womens E-Mail": "womens_email"}
COVARIATES: dict[str, Kind] = {
    "recency": "float",
    "history_segment": "string",
    "history": "float",
    "mens": "float",
    "womens": "float",
    "zip_code": "string",
    "newbie": "float",
    "channel": "string",
}
OUTCOMES: dict[str, Kind] = {"segment": "string", "visit": "bool", "conversion": "bool", "spend": "float"}


def read(data: Path, seed: int, options: dict[str, Any]) -> dict[str, pa.Table]:
    """campaign_exposures of the file, or of the only CSV file in the folder, `data`."""
    files = [data] if data.is_file() else sorted(path for path in data.iterdir() if path.name.endswith((".csv", ".csv.gz")))
    if len(files) != 1:
        raise DataNotFound(
            f"Source hillstrom reads one .csv or .csv.gz file. {data} gives {[path.name for path in files]}. Keep the publisher's alone."
        )
    rows = typed_columns(read_csv(files[0]), COVARIATES | OUTCOMES, files[0], "The e-mail challenge's file")
    if unknown := sorted(set(pc.unique(rows["segment"]).to_pylist()) - ARMS.keys(), key=str):
        raise FileRefused(f"A segment must be one of {list(ARMS)}. {files[0]} has {unknown}. Check that it is the publisher's file.")
    note_unless_published(files[0], MD5, {"rows": rows.num_rows})

    count = rows.num_rows
    exposures = landing_table(
        "campaign_exposures",
        {
            "campaign_id": ["hillstrom"] * count,
            "user_id": [f"h{number:05}" for number in range(count)],
            "assigned_at": np.full(count, ASSIGNED, "datetime64[us]"),
            "treatment": [ARMS[segment] for segment in rows["segment"].to_pylist()],
            "propensity": [1 / 3] * count,
            "visited": rows["visit"],
            "converted": rows["conversion"],
            "spend": rows["spend"],
            "outcome_at": np.full(count, OUTCOME, "datetime64[us]"),
        },
        [OUTCOME] * count,
    )
    for name in COVARIATES:
        exposures = exposures.append_column(f"x_{name}", rows[name])
    return {"campaign_exposures": exposures}
