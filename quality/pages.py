"""Data docs that open anywhere: Great Expectations' pages without what they fetch from other hosts, and an index of our own.

Its pages link style sheets, scripts, a logo and a newsletter on public hosts, and its index is empty without them. Here every page carries
the few rules of style it needs, and no script.
"""

import html
import json
import re
from pathlib import Path

#: Runs that keep their pages and stand in the index, newest window first.
RUNS_SHOWN = 300

_FETCHED = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*?\bhref=[\"']https?:[^>]*>|<img\b[^>]*?\bsrc=[\"']https?:[^>]*>|<form\b.*?</form>"
    r"|<a\b[^>]*?\bhref=[\"']https?:[^>]*>.*?</a>|<button\b.*?</button>|<footer\b.*?</footer>"
    r"|@import url\([^)]*\);?|url\([\"']https?:[^)]*\)",
    re.DOTALL | re.IGNORECASE,
)

_STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2430; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { border-bottom: 1px solid #d8dce3; padding: .35rem .6rem; text-align: left; vertical-align: top; }
nav, .modal, [hidden] { display: none; }
ul.breadcrumb, ol.breadcrumb { list-style: none; padding: 0; }
.row { display: block; max-width: 100%; flex: none; } [class*="col-"] { max-width: 100%; width: auto; }
.collapse { display: block; } .sticky { position: static; }
.alert { padding: .4rem .6rem; background: #eef1f6; border-radius: 4px; margin: .6rem 0; }
.holds, .text-success { color: #12703a; } .broken, .text-danger { color: #b3261e; }
.text-success::before { content: "holds "; } .text-danger::before { content: "broken "; }
</style>"""


def make_offline(page: Path) -> None:
    """Rewrites one page of Great Expectations so that it fetches nothing; a page already rewritten stays as it is."""
    text = _FETCHED.sub("", page.read_text(encoding="utf-8"))
    if _STYLE not in text:
        text = text.replace("</head>", f"{_STYLE}</head>", 1)
    page.write_text(text, encoding="utf-8")


def write_index(quality_dir: Path) -> Path:
    """Writes `docs/index.html`: the newest RUNS_SHOWN windows of both gates, what is broken in each, and a link to every suite's page."""
    docs = quality_dir / "docs"
    reports = [json.loads(path.read_text()) for path in (quality_dir / "results").glob("*.json")]
    reports.sort(key=lambda report: (report["end"], report["start"], report["stage"]), reverse=True)
    body = "".join(_row(docs, report) for report in reports[:RUNS_SHOWN])
    page = docs / "index.html"
    docs.mkdir(parents=True, exist_ok=True)
    page.write_text(
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Gates</title>{_STYLE}</head><body><h1>Gates</h1>"
        "<p>Newest window first. Counts only: no value of any row stands on these pages.</p>"
        f"<table><tr><th>gate</th><th>window</th><th>verdict</th><th>suites</th></tr>{body}</table></body></html>\n",
        encoding="utf-8",
    )
    return page


def _row(docs: Path, report: dict) -> str:
    run = f"{report['stage']}-{report['start']}-{report['end']}"
    pages = sorted(docs.glob(f"validations/*/*/{run}/*/window.html"))
    links = ", ".join(f"<a href='{page.relative_to(docs)}'>{page.parts[-4]}</a>" for page in pages)
    broken = [rule for rule in report["rules"] if not rule["passed"]]
    verdict = f"<span class='holds'>all {len(report['rules'])} rules hold</span>"
    if broken:
        listed = "".join(f"<li>{html.escape(f'''{rule['table']}: {rule['rule']} {rule.get('detail', '')}''')}</li>" for rule in broken)
        verdict = f"<span class='broken'>{len(broken)} of {len(report['rules'])} rules broken</span><ul>{listed}</ul>"
    return f"<tr><td>{report['stage']}</td><td>{report['start']} to {report['end']}</td><td>{verdict}</td><td>{links}</td></tr>"
