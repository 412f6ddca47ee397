"""Applications whose risk is known: it rises with late months and debt, and with nothing else."""

import json
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

START = datetime(2024, 1, 1)  # noqa: DTZ001


def applications(rows: int = 600, seed: int = 3) -> pd.DataFrame:
    """`defaulted` by the log odds `-2 + .9 * late months + 1.2 * (debt > 500)`; `x_late_1 ... x_late_4` are a series of codes."""
    draw = np.random.default_rng(seed)
    late = draw.integers(0, 2, (rows, 4)).astype(float)
    debt = draw.uniform(0, 1000, rows).round(2)
    frame = pd.DataFrame({f"x_late_{month + 1}": late[:, month] for month in range(4)})
    frame = frame.assign(
        x_debt=debt,
        x_job=draw.choice(["permanent", "none"], rows),
        x_sex=draw.choice(["female", "male"], rows),
        amount=draw.uniform(100, 900, rows).round(2),
        application_id=[f"c{row:05d}" for row in range(rows)],
        user_id=[f"u{row:05d}" for row in range(rows)],
    )
    odds = -2 + 0.9 * late.sum(axis=1) + 1.2 * (debt > 500)
    return frame.assign(risk=1 / (1 + np.exp(-odds)), defaulted=(draw.random(rows) < 1 / (1 + np.exp(-odds))).astype(float))


def as_mart(frame: pd.DataFrame) -> pd.DataFrame:
    """The same as rows of the mart `credit_outcomes`: one a minute, each with its outcome 20 days later."""
    own = [name for name in frame if name.startswith("x_")]
    applied_at = [START + timedelta(minutes=row) for row in range(len(frame))]
    return pd.DataFrame(
        {
            "application_id": frame["application_id"],
            "user_id": frame["user_id"],
            "applied_at": pd.Series(applied_at, dtype="datetime64[us]"),
            "amount": frame["amount"],
            "is_defaulted": frame["defaulted"].astype(bool),
            "outcome_at": pd.Series([at + timedelta(days=20) for at in applied_at], dtype="datetime64[us]"),
            "covariates": [json.dumps(row) for row in frame[own].to_dict("records")],
        }
    )
