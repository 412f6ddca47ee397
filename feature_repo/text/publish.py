"""Publishes `item_vectors` for a window, from published item_features and user_sequences.

A model is fitted at the first time at which any item's text was known and at the first of every month of the data, on what was known
then, and frozen: a fit gives every item a row, and until the next one an item whose text becomes known or changes gets one the same
midnight, made by the frozen model. `text_version` names cut-off and method; vectors of different versions must not be compared, and need
not have the same length.

As with `export.py`, days before the window's start stay as they are (hard links) and everything from it on is written anew, whatever the
window's end: windows may come in any order, twice, or be killed, and end in the same bytes. Models are kept in `offline_dir/.item_models`;
those of cut-offs from the window's start on are forgotten and fitted again, and so is one that is missing. Readers see the vectors as
they were or as they are: the folder is made whole beside the one in use, then a link is switched.
"""

import os
import shutil
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.contract import CREATED_AT, FEATURES_AT, ITEM_VECTORS
from feature_repo.published import SCHEMA_FILE, connect, from_clause, mart_dir
from feature_repo.text import fused
from feature_repo.text.known import TextVersion, cut_offs, histories, known_texts, newest_known, text_versions
from quality import postgres
from settings import get_settings

SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        (FEATURES_AT, pa.timestamp("us")),
        (CREATED_AT, pa.timestamp("us")),
        ("text_vector", pa.list_(pa.float64())),
        ("text_version", pa.string()),
    ]
)
Row = tuple[str, datetime, list[float] | None, str]  # item, known at, vector, version


@dataclass(frozen=True)
class FitReport:
    """One version used: items and histories it learned from, its dimension, and the share of the words' weight that it explains."""

    items: int
    histories: int
    dim: int
    word_dim: int
    word_share: float


@dataclass(frozen=True)
class TextReport:
    """What was published: rows and days written, and the versions of their models."""

    start: date
    end: date
    rows: int
    days: int
    fits: dict[str, FitReport]

    def as_text(self) -> str:
        """A line for all, and one a version."""
        lines = [f"published item vectors from {self.start} on (window to {self.end}): {self.rows} rows in {self.days} days"]
        lines += [
            f"  {version}: {fit.items} items, {fit.histories} histories; {fit.dim} numbers, "
            f"{fit.word_dim} of them words that explain {fit.word_share:.0%}"
            for version, fit in self.fits.items()
        ]
        return "\n".join(lines)


def update(start: date, end: date) -> TextReport:
    """Writes every row of `item_vectors` with `created_at` from `start` on. Items without any text get no row; one whose text is taken back
    gets a row without a vector.

    Raises ValueError on an empty window and FileNotFoundError where the marts were not exported.
    """
    if end <= start:
        raise ValueError(f"A window must end after it starts. Received [{start}, {end}). Give the day after the last one as its end.")
    begin, last, versions = datetime.combine(start, time()), newest_known(), text_versions()
    _forget_models(start)
    days: dict[date, list[Row]] = defaultdict(list)
    fits: dict[str, FitReport] = {}
    cuts = cut_offs(min(version.known_at for version in versions), last) if versions and last else []
    for cut, until in zip(cuts, [*cuts[1:], None], strict=False):
        refitted = known_texts(versions, cut) if cut >= begin else []
        fresh = [version for version in versions if version.known_at > cut and version.known_at >= begin]
        changed = [version for version in fresh if until is None or version.known_at < until]
        if not refitted and not changed:
            continue
        name = f"{cut:%Y-%m-%d}-{fused.METHOD}"
        model = _model(versions, cut)
        fits[name] = FitReport(len(model.places), model.learned_from, model.dim, len(model.spectrum.strengths), model.spectrum.share)
        for known_at, asked in [(cut, refitted), (None, changed)]:
            vectors = model.vectors([version.item_id for version in asked], [version.words for version in asked])
            for version, vector in zip(asked, vectors, strict=True):
                at = known_at or version.known_at
                days[at.date()].append((version.item_id, at, vector.tolist() if version.words else None, name))
    rows = _write(days, start)
    if url := get_settings().warehouse_url:
        _send(url)
    return TextReport(start, end, rows, len(days), fits)


def _send(url: str) -> None:
    """The view as it is published now, beside the marts on the server, where Feast's own offline store reads."""
    columns = {column.name: column.data_type for column in ITEM_VECTORS.columns}
    with connect() as published, postgres.connect(url) as server, server.cursor() as cursor:
        postgres.replace_table(cursor, "marts", ITEM_VECTORS.name, columns, published, from_clause(ITEM_VECTORS.name))


def _model(versions: list[TextVersion], cut: datetime) -> fused.FusedModel:
    """The frozen model of a cut-off: the kept one, else fitted on what was known then and kept."""
    kept = _kept_models() / f"{cut:%Y-%m-%d}.npz"
    if not kept.exists():
        known = known_texts(versions, cut)
        ids = [version.item_id for version in known]
        fused.save(fused.fit(ids, [version.words for version in known], histories(ids, cut)), kept)
    return fused.load(kept)


def _kept_models() -> Path:
    return mart_dir(ITEM_VECTORS.name).with_name(".item_models")


def _forget_models(start: date) -> None:
    """What was known at a cut-off before the window's start is as it was; anything later may have changed."""
    for kept in _kept_models().glob("*"):
        if kept.suffix != ".npz" or kept.stem >= str(start):
            kept.unlink()


def _write(days: dict[date, list[Row]], start: date) -> int:
    """A fresh folder with the days before `start` as they are and `days`, then the link is switched to it; returns the rows of `days`."""
    link = mart_dir(ITEM_VECTORS.name)
    fresh = _fresh_folder(link)
    for folder in sorted(link.glob("day=*")):
        if folder.name < f"day={start}":
            (fresh / folder.name).mkdir()
            os.link(folder / "part-0.parquet", fresh / folder.name / "part-0.parquet")
    pq.write_table(SCHEMA.empty_table(), fresh / SCHEMA_FILE)
    for day, rows in days.items():
        items, times, vectors, versions = zip(*sorted(rows, key=lambda row: row[:2]), strict=True)
        (fresh / f"day={day}").mkdir()
        pq.write_table(
            pa.table([items, times, times, vectors, versions], schema=SCHEMA), fresh / f"day={day}" / "part-0.parquet", compression="zstd"
        )
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)  # published empty, before there were vectors
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(fresh.relative_to(link.parent))
    beside.replace(link)
    return sum(map(len, days.values()))


def _fresh_folder(link: Path) -> Path:
    """`.item_vectors/<number>`, empty; all others but the one in use are removed, so that a query that is reading it may finish."""
    in_use = link.resolve()
    numbers = [0]
    home = link.with_name(f".{link.name}")
    home.mkdir(parents=True, exist_ok=True)
    for folder in home.iterdir():
        numbers.append(int(folder.name))
        if folder != in_use:
            shutil.rmtree(folder)
    fresh = home / f"{max(numbers) + 1:06d}"
    fresh.mkdir()
    return fresh
