"""What a gate found, kept for people: one JSON file per stage and window, and data docs. Neither holds a value of any row."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quality.pages import make_offline, write_index
from settings import get_settings

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.data_context import EphemeralDataContext


@dataclass(frozen=True)
class RuleResult:
    """One rule on one table; `count` is the rows that break it (for `has_rows`, the rows there are; for days against days before,
    the days; null where it could not be judged). `detail` says more where counts and shares can."""

    table: str
    rule: str
    passed: bool
    count: int | None
    detail: str = ""


@dataclass(frozen=True)
class GateReport:
    """What `check(stage, start, end)` found; `skipped` says for every table that was not judged why."""

    stage: str
    start: date
    end: date
    rules: tuple[RuleResult, ...]
    skipped: Mapping[str, str]

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        return tuple(rule for rule in self.rules if not rule.passed)

    def as_text(self) -> str:
        """The report for a task's log, one line a table and one a broken rule."""
        lines = [f"Gate {self.stage} [{self.start}, {self.end}): {len(self.rules)} rules, {len(self.broken)} broken"]
        for table in dict.fromkeys(rule.table for rule in self.rules):
            of_table = [rule for rule in self.rules if rule.table == table]
            lines.append(f"  {table}: {sum(rule.passed for rule in of_table)} of {len(of_table)} rules hold")
            lines += [f"    broken: {described(rule)}" for rule in of_table if not rule.passed]
        lines += [f"  {table}: skipped, {reason}" for table, reason in self.skipped.items()]
        return "\n".join([*lines, f"  data docs: {docs_address()}"])


def docs_address() -> str:
    """Where the data docs of this house open: on the web page, which Airflow's pages may link to, and as a file without any service."""
    settings = get_settings()
    return f"http://{settings.browsed_host}:{settings.api_port}/quality/ or {(settings.quality_dir / 'docs' / 'index.html').as_uri()}"


def described(rule: RuleResult) -> str:
    """`marts.user_features: events_7d_in_range (3 rows)`; of days against days before, which days and what was expected."""
    found = "could not be judged" if rule.count is None else rule.detail or f"{rule.count} row{'' if rule.count == 1 else 's'}"
    return f"{rule.table}: {rule.rule} ({found})"


def without_values(result: "ExpectationSuiteValidationResult") -> "ExpectationSuiteValidationResult":
    """The result with every exception's text taken out: a database's message may quote the value it stumbled on."""
    for rule in result.results:
        if _raised(rule.exception_info):
            rule.exception_info = {
                "raised_exception": True,
                "exception_message": "this rule could not be judged; the text is withheld because it may quote values",
                "exception_traceback": None,
            }
    return result


def _raised(exception_info: Mapping[str, Any]) -> bool:
    return bool(exception_info.get("raised_exception")) or any(isinstance(nested, Mapping) for nested in exception_info.values())


def rule_results(table: str, result: "ExpectationSuiteValidationResult") -> list[RuleResult]:
    """Every rule of one suite, in the order of their names."""
    rules = []
    observed = {_meta(judged)["rule"]: judged.result.get("observed_value") for judged in result.results}
    for judged in result.results:
        meta, passed = _meta(judged), bool(judged.success)
        if _raised(judged.exception_info):
            count = None
        elif meta["rule"] == "has_rows":
            count = judged.result["observed_value"]
        elif meta["rule"] == "columns_as_in_contract":
            mismatched = judged.result.get("details", {}).get("mismatched", {})
            count = sum(len(names) for names in mismatched.values())
        elif meta["rule"].startswith("one_row_per_"):  # what is observed is the share of distinct keys, 0 in an empty table
            count = round((1 - judged.result["observed_value"]) * observed["has_rows"])
            passed = count == 0
        else:
            count = meta.get("count", judged.result["unexpected_count"])
        rules.append(RuleResult(meta.get("table", table), meta["rule"], passed, count, meta.get("detail", "")))
    return sorted(rules, key=lambda rule: (rule.table, rule.rule))


def _meta(judged: "ExpectationValidationResult") -> Mapping[str, Any]:
    return judged.expectation_config.meta  # type: ignore[union-attr,return-value]


def store_report(report: GateReport, results_dir: Path) -> None:
    """Writes `<stage>-<start>-<end>.json`, whole or not at all."""
    results_dir.mkdir(parents=True, exist_ok=True)
    path = results_dir / f"{report.stage}-{report.start}-{report.end}.json"
    content = {
        "stage": report.stage,
        "start": str(report.start),
        "end": str(report.end),
        "passed": not report.broken,
        "rules": [asdict(rule) for rule in report.rules],
        "skipped": dict(report.skipped),
    }
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def render_docs(
    context: "EphemeralDataContext", report: GateReport, results: Mapping[str, "ExpectationSuiteValidationResult"], quality_dir: Path
) -> None:
    """Adds a page per suite to the data docs and renews their index; a gate run again replaces its pages.

    The pages fetch nothing from anywhere, so that they open from a file, from the web page and without a network.
    """
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier, ValidationResultIdentifier

    window_end = datetime.combine(report.end, datetime.min.time(), UTC)
    run = RunIdentifier(run_name=f"{report.stage}-{report.start}-{report.end}", run_time=window_end)
    keys = []
    for table, result in results.items():
        result.meta["run_id"] = run
        keys.append(ValidationResultIdentifier(ExpectationSuiteIdentifier(table), run, "window"))
        context.validation_results_store.set(keys[-1], result)
    context.build_data_docs(resource_identifiers=keys)
    for page in (quality_dir / "docs" / "validations").glob(f"*/*/{run.run_name}/*/window.html"):
        make_offline(page)
    write_index(quality_dir)
