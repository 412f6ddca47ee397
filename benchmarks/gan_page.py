"""The GAN's part of `docs/benchmarks.md`."""

from typing import Any

import numpy as np

MEANING = (
    "Mean over seeds, least and greatest in brackets. *Judge* keeps drawn rows as often as a classifier takes them for real, *head* "
    "draws the target by a classifier of the real rows, which also stands behind the peers, to show what it is worth by itself. "
    "*Pairs*: total variation of two columns together, mean over all pairs, beside the test rows. *Membership*: AUC of an attack that "
    "tells learned rows from unseen ones; *closer*: share of rows nearer to a learned row than to an unseen one; .5 is no leak. "
    "*Nearest 5 %*: distance of the nearest twentieth of rows to learned rows, less that of test rows."
)


def section(result: dict[str, Any]) -> str:
    """The result as Markdown: one row a kind of table, the mean over its seeds and their range."""
    counts, tables = result["counts"], result["tables"]
    lines = [
        f"`python -m benchmarks.gan`, {result['date']}, {result['machine']}, {result['device']}, backend {result['backend']}, Keras "
        f"{result['keras']}. Learned from {counts['learn']:,} rows, settings chosen on {counts['validation']:,}, tested on "
        f"{counts['test']:,}; SHA-256 of the test targets `{result['targets_sha256'][:16]}`. Gradient boosting tuned on real rows "
        f"({', '.join(f'{name} {value}' for name, value in result['boosting'].items())}) learns from each table.",
        "",
        "| table | seeds | macro-F1 | AUC | pairs | membership | closer | nearest 5 % | copies | may be shared | training, s (CPU s) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(table["name"] for table in tables):
        own = [table for table in tables if table["name"] == name]
        kept = [table["privacy"] for table in own if table["privacy"]]
        near = ["–"] * 5
        if kept:
            near = [
                _mean([found["membership_auc"]["mean"] for found in kept], 3),
                _mean([found["closer_to_learned"]["mean"] for found in kept], 3),
                _mean([found["distance_5%_above_real"]["mean"] for found in kept], 3),
                f"{max(found['copies'] for found in kept):,}",
                f"{sum(table['sharing'] for table in own)} of {len(own)}",
            ]
        cells = [
            name,
            str(len(own)),
            _mean([table["utility"]["macro_f1"]["mean"] for table in own], 4),
            _mean([table["utility"]["auc"]["mean"] for table in own], 4),
            _mean([table["fidelity"]["pairs_tv"] for table in own], 4),
            *near,
            f"{np.mean([table['seconds'] for table in own]):,.0f} ({np.mean([table['cpu_seconds'] for table in own]):,.0f})"
            if "seconds" in own[0]
            else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for tried in result["search"][:1]:
        told = "; ".join(
            f"{', '.join(f'{key} {value}' for key, value in row['change'].items()) or 'defaults'}: AUC {row['validation']['auc']:.4f}, "
            f"macro-F1 {row['validation']['macro_f1']:.4f}"
            for row in result["search"]
        )
        lines += ["", f"Tried on the validation rows, by the GAN alone ({tried['seconds']:.0f} s the first): {told}."]
    minutes = [
        f"{name} {np.mean([table['cpu_seconds'] for table in tables if table['name'] == name]) / 60:.1f}"
        for name in ("GAN alone", "CTGAN", "TVAE")
        if any(table["name"] == name for table in tables)
    ]
    if result["device"].lower() == "cpu":
        lines += ["", f"CPU minutes to train on a seed, which one core takes: {', '.join(minutes)}."]
    return "\n".join(lines)


def _mean(values: list[float], digits: int) -> str:
    said = f"{np.mean(values):.{digits}f}"
    return said if len(values) == 1 else f"{said} [{min(values):.{digits}f}, {max(values):.{digits}f}]"
