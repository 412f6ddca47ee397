"""Great Expectations on DuckDB: rules run as SQL in the warehouse, over one connection that stays open.

Great Expectations has no DuckDB dialect, and by default closes its connection before it fetches, which loses the result there. The engine
below keeps one connection, as Great Expectations itself does for SQLite.

Great Expectations is imported here, without Spark, and taken from here: it imports pyspark wherever it finds one, and pyspark 4.3 without
all of its extras ends a process that was started as `python -c` with status 0, so that a gate would pass by dying.
"""

import builtins
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from quality.pages import RUNS_SHOWN

if TYPE_CHECKING:
    import sqlalchemy


@contextmanager
def _without_spark() -> Iterator[None]:
    already = sys.modules.get("pyspark")
    sys.modules["pyspark"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pyspark"]
        if already:
            sys.modules["pyspark"] = already


with _without_spark():
    import great_expectations as gx
    from great_expectations import expectations as gxe
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig
    from great_expectations.datasource.fluent import SQLDatasource
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine
    from great_expectations.expectations.row_conditions import Column as RowColumn

__all__ = ["DuckDBDatasource", "KeptConnectionEngine", "RowColumn", "gx", "gxe", "open_context", "open_datasource"]


class KeptConnectionEngine(SqlAlchemyExecutionEngine):
    """Runs every query over one connection and closes it only with the engine."""

    @contextmanager
    def get_connection(self) -> Iterator["sqlalchemy.Connection"]:
        if self._connection is None:
            self._connection = self.engine.connect()
        yield self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.engine.dispose()


class DuckDBDatasource(SQLDatasource):
    """A datasource that reads a DuckDB file through the engine above."""

    type: Literal["duckdb"] = "duckdb"  # type: ignore[assignment]

    @property
    def execution_engine_type(self) -> builtins.type[SqlAlchemyExecutionEngine]:
        return KeptConnectionEngine


@contextmanager
def open_datasource(context: EphemeralDataContext, warehouse: Path) -> Iterator[DuckDBDatasource]:
    """The warehouse as a datasource of `context`; the file is free again at the end."""
    source = DuckDBDatasource(name="warehouse", connection_string=f"duckdb:///{warehouse}")
    context._add_fluent_datasource(source)
    try:
        yield source
    finally:
        source.get_execution_engine().close()
        source.get_engine().dispose()


def open_context(quality_dir: Path) -> EphemeralDataContext:
    """A context that keeps its results in `<quality_dir>/gx` and renders data docs to `<quality_dir>/docs`."""

    def folder(name: str) -> dict[str, str]:
        return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(quality_dir / name)}

    stores = InMemoryStoreBackendDefaults().stores
    stores["validation_results_store"] = {"class_name": "ValidationResultsStore", "store_backend": folder("gx")}
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": folder("docs"),
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "validation_results_limit": RUNS_SHOWN},
        "site_section_builders": {"expectations": "None", "profiling": "None"},
    }
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            stores=stores,
            expectations_store_name="expectations_store",
            validation_results_store_name="validation_results_store",
            checkpoint_store_name="checkpoint_store",
            data_docs_sites={"portrait": site},
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
