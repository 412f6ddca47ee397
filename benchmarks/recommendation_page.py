"""The part of `docs/benchmarks.md` of `benchmarks.recommendations`, from what it has measured."""

from typing import Any


def page(found: dict[str, Any]) -> str:
    """The part of the page, of what has been measured."""
    lines = ["## Recommendations", ""]
    if speed := found.get("speed"):
        one, bare = speed["one"], speed["one"]["bare model call"]
        lines.append(
            f"{speed['head']} {speed['items']:,} items, {speed['pairs']:,} pairs turn by turn, random weights, variety on; other work on "
            f"the machine, load {speed['load']:.1f}."
        )
        lines += ["", "| ms | p50 | p99 | of the bare call |", "| --- | --- | --- | --- |"]
        for name, values in one.items():
            ratios = f"{values['p50'] / bare['p50']:.2f}, {values['p99'] / bare['p99']:.2f}"
            lines.append(f"| {name} | {values['p50']:.2f} | {values['p99']:.2f} | {ratios} |")
        lines += [
            "",
            "| requests a second | | p50 ms | p99 ms | by the model | cores: model server, consumer |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for row in speed["rates"]:
            cores = ", ".join(f"{value:.2f}" for value in row["cores"].values())
            lines.append(f"| {row['rate']} | {row['what']} | {row['p50']:.1f} | {row['p99']:.1f} | {row['by model']:.1%} | {cores} |")
        lines.append("")
    if large := found.get("large"):
        lines += [
            f"{large['head']} {large['items']:,} items, {large['users']} users, no variety; the index, opened in {large['built']:.0f} s, "
            f"gives {large['share']:.1%} of the exact lists of ten."
        ]
        lines += ["", "| ms | p50 | p99 |", "| --- | --- | --- |"]
        lines += [f"| {name} | {value['p50']:.2f} | {value['p99']:.2f} |" for name, value in large["times"].items()]
        lines.append("")
    if variety := found.get("variety"):
        lines += [
            f"{variety['head']} Simulated shop, {variety['users']:,} users' next new item among {variety['items']:,}, best 100 re-ranked."
        ]
        lines += [
            "",
            "| diversity | NDCG@10 | of 0 | HR@10 | 1 - cosine within the list | top-level categories |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for row in variety["rows"]:
            share = row["NDCG@10"] / variety["rows"][0]["NDCG@10"]
            lines.append(
                f"| {row['diversity']:g} | {row['NDCG@10']:.4f} ± {row['error']:.4f} | {share:.1%} | {row['HR@10']:.4f} "
                f"| {row['unlikeness']:.3f} | {row['categories']:.2f} |"
            )
        lines.append("")
    if million := found.get("million"):
        lines += [
            f"{million['head']} {million['items']:,} clustered vectors of {million['dim']} numbers and a bias, {million['asked']:,} "
            f"questions, one thread: {million['lists']:,} lists built in {million['build_s']:.0f} s, {million['index_mb']:.0f} MB, process "
            f"{million['process_mb']:,.0f} MB; recall@10 {million['recall@10']:.4f}, recall@100 {million['recall@100']:.4f}."
        ]
        lines += ["", "| ms | p50 | p99 |", "| --- | --- | --- |"]
        lines += [f"| {name} | {value['p50']:.2f} | {value['p99']:.2f} |" for name, value in million["times"].items()]
        lines.append("")
    return "\n".join(lines)
