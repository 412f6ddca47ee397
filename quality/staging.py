"""SQL that reads delivered files into a temporary table `staged`: texts repaired, contract types by `try_cast`, each row with the names of
its repairs and of the rules it breaks.

A cell that cannot be cast becomes null and breaks `<column>_unparseable`: it costs one row, never the file.
"""

from quality.repairs import is_suspicious, repaired
from quality.row_rules import rules_for
from quality.warehouse import SQL_TYPES
from sources.landing import Column, LandingTable

_NUMERIC = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)
_PLAIN_TIMES = ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "DATE")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str, kind: str) -> str:
    return f"try(decode({value}))" if kind == "BLOB" else f"try_cast({value} as varchar)"


def _number(value: str, kind: str) -> str:
    return f"try_cast({value} as double)" if kind.startswith(_NUMERIC) else f"try_cast({_text(value, kind)} as double)"


def _cast(column: Column, kind: str) -> str:
    """SQL that reads `"raw_<column>"`, of DuckDB type `kind`, as the contract's type, or null where it is none."""
    value = _quoted(f"raw_{column.name}")
    text = _text(value, kind)
    if column.kind == "timestamp":
        if kind in _PLAIN_TIMES:
            return f"try_cast({value} as timestamp)"
        with_zone = value if kind == "TIMESTAMP WITH TIME ZONE" else f"try_cast({text} as timestamptz)"
        return f"({with_zone} at time zone 'UTC')"
    if column.kind == "float":
        return _number(value, kind)
    if column.kind == "int":
        number = _number(value, kind)
        return f"case when {number} = trunc({number}) then try_cast({number} as bigint) end"
    if column.kind == "bool" and kind.startswith(_NUMERIC):
        return f"case {value} when 1 then true when 0 then false end"
    if column.kind == "json":
        return f"case when json_valid({text}) then {text} end"
    if column.kind == "bool":
        return f"try_cast({text} as boolean)"
    return f"try_cast({value if kind.endswith('[]') else text} as {SQL_TYPES[column.kind]})"


def _covariates(table: LandingTable, types: dict[str, str]) -> str:
    """SQL of one JSON object of the shop's own columns: numbers as floats, the rest as text, nulls and NaN left out."""
    entries = []
    for name in sorted(name for name in types if table.free_prefix and name.startswith(table.free_prefix)):
        value, kind = _quoted(name), types[name]
        if kind.startswith(_NUMERIC) or kind == "BOOLEAN":
            number = f"{value}::double"
            entries.append(f"{value}: case when isfinite({number}) then {number} end")
        else:
            entries.append(f"{value}: {_text(value, kind)}")
    return f"json_merge_patch('{{}}', to_json({{{', '.join(entries)}}}))::varchar" if entries else "'{}'"


def _as_delivered(column: Column, kind: str) -> str:
    """SQL of the cell as text for the quarantine; bytes that are not UTF-8 are written as `\\xE9`."""
    value = _quoted(f"raw_{column.name}")
    return f"coalesce({_text(value, kind)}, {value}::varchar)" if kind == "BLOB" else _text(value, kind)


def _repaired(column: Column, kind: str) -> tuple[str, str, str]:
    """SQL of a text as it is kept, of whether that differs from what came, and of the names of its repairs (nulls between them)."""
    raw, kept = _quoted(f"raw_{column.name}"), _quoted(column.name)
    came = _text(raw, kind)
    text = f"coalesce({came}, case when {raw} is not null then decode_bytes({raw}) end)" if kind == "BLOB" else came
    names = (
        f"case when mend_text({text}) is distinct from {came} then '{column.name}_encoding' end, "
        f"case when {kept} <> mend_text({text}) then '{column.name}_trimmed' end"
    )
    return f"case when is_suspicious then {repaired(text)} else {came} end", f"{kept} is distinct from {came}", names


def create_staged(table: LandingTable) -> str:
    """SQL that makes `staged` for a table: its columns, `ds`, the row's repairs, its place, what it broke, and it as delivered."""
    columns = [f'"{column.name}" {SQL_TYPES[column.kind]}' for column in table.columns]
    if table.free_prefix:
        columns.append("covariates varchar")
    books = "ds date, repairs varchar[], file_number int, row_number bigint, broken varchar[], row_json varchar"
    return f"create or replace temp table staged ({', '.join(columns)}, {books})"


def insert_group(table: LandingTable, types: dict[str, str]) -> str:
    """SQL that adds one schema group to `staged`. Parameter: the group's paths; `delivered_files(path, file_number, ds)` must be there."""
    spelled = {name.lower(): name for name in types}
    raw, texts, typed, delivered, repairs, changed = [], [], [], [], [], []
    has_bytes = False
    for column in table.columns:
        name = spelled.get(column.name)
        raw.append(f"{_quoted(name) if name else 'null::varchar'} as {_quoted('raw_' + column.name)}")
        kind = types[name] if name else "VARCHAR"
        delivered.append(f"{_quoted(column.name)}: {_as_delivered(column, kind)}")
        if column.kind != "string":
            typed.append(f"{_cast(column, kind)} as {_quoted(column.name)}")
        elif name is None:
            typed.append(f"null::varchar as {_quoted(column.name)}")
        else:
            text, is_changed, names = _repaired(column, kind)
            texts.append(_text(_quoted("raw_" + column.name), kind))
            has_bytes |= kind == "BLOB"
            typed.append(f"{text} as {_quoted(column.name)}")
            changed.append(is_changed)
            repairs.append(names)
    kept = [_quoted(column.name) for column in table.columns]
    if table.free_prefix:
        raw.append(f"{_covariates(table, types)} as covariates")
        delivered.append('"covariates": covariates')
        kept.append("covariates")
    rules = rules_for(table)
    is_broken = " or ".join(f"coalesce({rule.broken}, false)" for rule in rules)
    broken = ", ".join(f"case when {rule.broken} then '{rule.name}' end" for rule in rules)
    return f"""
        insert into staged
        with delivered as (
            select {", ".join(raw)}, source_file, file_row_number as row_number,
            from read_parquet(?, hive_partitioning = false, filename = 'source_file', file_row_number = true)
        ),
        looked as (
            select *, {"true" if has_bytes else is_suspicious(texts)} as is_suspicious from delivered
        ),
        typed as (
            select looked.*, {", ".join(typed)}, delivered_files.ds, delivered_files.file_number,
            from looked
            join delivered_files on delivered_files.path = looked.source_file
        ),
        judged as (
            select *, {is_broken} as is_broken, is_suspicious and ({" or ".join(changed)}) as is_repaired from typed
        )
        select
            {", ".join(kept)}, ds,
            case when is_repaired then list_filter([{", ".join(repairs)}], lambda name: name is not null) end,
            file_number, row_number,
            case when is_broken then list_filter([{broken}], lambda name: name is not null) end,
            case when is_broken then to_json({{{", ".join(delivered)}}})::varchar end,
        from judged
    """
