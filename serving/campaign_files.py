"""What a campaign leaves in the house, `campaigns/<name>/`, and the columns of its tables: the contract with whoever measures results.

plan.json             the request, and the plan in totals
plan.parquet          a row for every user who could get an offer, whoever does
evaluation.json       what logged campaigns say of the plan before it is sent
assignments.parquet   written on approval: who was assigned what, and with which probability
status.json           where the campaign stands, and who decided it when and why (`campaign_state.py`)
exports/              lists to send by
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from settings import Settings
from sources.durable import replace_whole

#: The arm of users who were held out.
CONTROL = "control"

#: One row per user of the eligible audience, sorted by user_id. `intended_offer` is what the plan's rule gives, null for none; of a user in
#: the holdout it is what the user would have got. `offer` is the same, null in the holdout. `propensity` is the probability of the row's
#: own side: that of being held out, or of not being. Effects, cost and profit are those of `intended_offer`, 0 where there is none.
PLAN = pa.schema(
    [
        ("user_id", pa.string()),
        ("segment", pa.string()),
        ("holdout", pa.bool_()),
        ("intended_offer", pa.string()),
        ("offer", pa.string()),
        ("propensity", pa.float64()),
        ("visit_uplift", pa.float64()),
        ("conversion_uplift", pa.float64()),
        ("spend_uplift", pa.float64()),
        ("cost", pa.float64()),
        ("expected_profit", pa.float64()),
    ]
)

#: One row per user with an `intended_offer`, sorted by user_id: `arm` is that offer, or `control` in the holdout; so within those intended
#: the same offer the arm was drawn by chance alone. `propensity` is the probability of the arm; `planned_cost` is 0 for control.
ASSIGNMENTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("segment", pa.string()),
        ("intended_offer", pa.string()),
        ("arm", pa.string()),
        ("propensity", pa.float64()),
        ("assigned_at", pa.timestamp("us")),
        ("planned_cost", pa.float64()),
    ]
)


def folder(settings: Settings, name: str) -> Path:
    return settings.campaigns_dir / name


def plan_file(settings: Settings, name: str) -> Path:
    return folder(settings, name) / "plan.parquet"


def assignments_file(settings: Settings, name: str) -> Path:
    return folder(settings, name) / "assignments.parquet"


def write_table(path: Path, columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> None:
    """The columns as a file of that schema, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: pa.array(columns[name], schema.field(name).type, from_pandas=True) for name in schema.names}, schema)
    replace_whole(path, partial(pq.write_table, table, compression="zstd"))


def read_table(path: Path) -> pa.Table:
    return pq.read_table(path, partitioning=None)
