"""Makes of a delivered file one that must be refused."""

from pathlib import Path

import pyarrow.parquet as pq


def without_column(landing_dir: Path, table: str, column: str) -> Path:
    """Takes a column out of the table's first file; yields the file. Simulated dirt has no such file: it stops the whole load."""
    file = min((landing_dir / table).glob("ds=*/*.parquet"))
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns(column), file)
    return file
