"""Default of credit card clients: 30,000 clients of a bank in Taiwan, April to September 2005, and who defaulted in October.

Publisher: I.-C. Yeh, UCI Machine Learning Repository, data set Default of Credit Card Clients. Licence: CC BY 4.0. Offered: on that
repository's page of the data set, as a spreadsheet; here the same table as the CSV `UCI_Credit_Card.csv`, whose lines end in CR alone.

Gives credit_applications, one per client: amount is the credit given (LIMIT_BAL, Taiwan dollars), defaulted whether the next month's
payment failed. Every other column is an `x_*` covariate in lower case: repayment status (`x_pay_0` of September to `x_pay_6` of April:
-2 nothing used, -1 paid in full, 0 minimum paid, n months late), bills and payments as numbers, unchanged; sex, education and marriage as
words, where the publisher documents the code (`code 5` where not). The file has months only: the application stands on the last day of
September 2005, the outcome on that of October, the day that brings the rows. Sex, age and marriage must not decide about credit in many
countries: they are here to measure fairness by.
"""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sources.cells import read_csv, typed_columns
from sources.errors import DataNotFound
from sources.files import landing_table
from sources.landing import Kind
from sources.published import note_unless_published

MD5 = "0f23f74784abf9f5f12cea57c991fa77"  # 30,000 rows, 6,636 defaults
APPLIED, OUTCOME = date(2005, 9, 30), date(2005, 10, 31)
TARGET = "default.payment.next.month"
WORDS = {
    "SEX": {1: "male", 2: "female"},
    "EDUCATION": {1: "graduate school", 2: "university", 3: "high school", 4: "other"},
    "MARRIAGE": {1: "married", 2: "single", 3: "other"},
}
MONTHS = (2, 3, 4, 5, 6)
NUMBERS = (
    *("AGE", "PAY_0", *(f"PAY_{month}" for month in MONTHS)),
    *(f"{what}{month}" for what in ("BILL_AMT", "PAY_AMT") for month in (1, *MONTHS)),
)
COLUMNS: dict[str, Kind] = {
    "ID": "string",
    "LIMIT_BAL": "float",
    **dict.fromkeys(WORDS, "int"),
    **dict.fromkeys(NUMBERS, "float"),
    TARGET: "bool",
}


def read(data: Path, seed: int, options: dict[str, Any]) -> dict[str, pa.Table]:
    """credit_applications of the file, or of the only CSV file in the folder, `data`."""
    files = [data] if data.is_file() else sorted(data.glob("*.csv"))
    if len(files) != 1:
        raise DataNotFound(
            f"Source credit_default reads one .csv file. {data} gives {[path.name for path in files]}. Keep the publisher's alone."
        )
    rows = typed_columns(read_csv(files[0]), COLUMNS, files[0], "The file of credit card clients")
    note_unless_published(files[0], MD5, {"rows": rows.num_rows, "defaults": sum(rows[TARGET].to_pylist())})

    count = rows.num_rows
    applications = landing_table(
        "credit_applications",
        {
            "application_id": rows["ID"],
            "user_id": rows["ID"],
            "applied_at": np.full(count, APPLIED, "datetime64[us]"),
            "amount": rows["LIMIT_BAL"],
            "defaulted": rows[TARGET],
            "outcome_at": np.full(count, OUTCOME, "datetime64[us]"),
        },
        [OUTCOME] * count,
    )
    for name, words in WORDS.items():
        named = pa.array([words.get(code, f"code {code}") for code in rows[name].to_pylist()], pa.string())
        applications = applications.append_column(f"x_{name.lower()}", named)
    for name in NUMBERS:
        applications = applications.append_column(f"x_{name.lower()}", rows[name])
    return {"credit_applications": applications}
