"""The run report holds every figure, fetches nothing and escapes what shops wrote."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from training.report import Report, write_report

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    generator = np.random.default_rng(0)
    probability = generator.random(500)
    report = Report(
        title=f"recommender {EVIL}",
        subtitle="shop, 2024-01-01 to 2024-04-01",
        promoted=True,
        reason="NDCG@10 0.2500 is above popularity 0.1500: promoted (rule first_model).",
        metrics={
            f"challenger {EVIL}": {
                "NDCG@10": {"mean": 0.25, "low": 0.21, "high": 0.29},
                "HR@10": {"mean": 0.41, "low": 0.36, "high": 0.46},
            },
            "popularity": {"NDCG@10": {"mean": 0.15, "low": 0.12, "high": 0.18}, "HR@10": 0.31},
        },
        provenance={"seed": 7, "git": EVIL, "window": ["2024-01-01", "2024-04-01"]},
        note="1,234 users.",
        curves={"loss": [3.0, 2.0, 1.5, 1.4], "validation NDCG@10": [0.1, 0.2, 0.24, 0.22]},
        calibration={f"gender {EVIL}": (generator.random(500) < probability, probability)},
        popularity=(generator.integers(0, 9, 50), generator.integers(0, 40, 50)),
        tables={"Example users": [{"user": "u1", "history": ["Lamp", EVIL], "score": 0.12345}], "Slices": []},
    )
    return write_report(tmp_path_factory.mktemp("report") / "run" / "report.html", report).read_text()


def test_every_figure_stands_in_the_page(page: str):
    for text in ("0.2500", "[0.2100, 0.2900]", "0.3100", "rule first_model", "1,234 users.", "u1", "0.1235", "2024-01-01, 2024-04-01"):
        assert text in page
    assert '<span class="badge">promoted</span>' in page
    assert "Slices" not in page


def test_plots_are_inside_and_nothing_is_fetched(page: str):
    assert page.count("<svg") == 4  # intervals, training, calibration, popularity
    for heading in ("Training", "Calibration", "Popularity"):
        assert f"<h2>{heading}</h2>" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert "@import" not in page and "url(http" not in page


def test_markup_in_names_is_text_wherever_it_stands(page: str):
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(page)
    assert "script" not in tags
    assert page.count("&lt;script&gt;") >= 5


def test_a_refused_run_says_so_and_lacks_empty_sections(tmp_path: Path):
    report = Report("uplift", "", False, "qini nan: not promoted.", {"challenger": {"qini": float("nan")}}, {"seed": 1})
    written = write_report(tmp_path / "report.html", report).read_text()
    assert '<span class="badge">not promoted</span>' in written
    assert "<h2>Training</h2>" not in written
    assert "nan" not in re.sub(r"qini nan", "", written)


def test_the_same_figures_give_the_same_file(tmp_path: Path):
    report = Report("r", "", True, "", {"m": {"HR@10": 0.1}}, {}, curves={"loss": [2.0, 1.0]})
    assert write_report(tmp_path / "a.html", report).read_bytes() == write_report(tmp_path / "b.html", report).read_bytes()
