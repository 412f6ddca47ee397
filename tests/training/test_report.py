"""The run report holds every figure, fetches nothing and escapes what shops wrote."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from training import gate
from training.examples import Example, Said
from training.metrics import confusion
from training.report import Report, write_report
from training.report_words import RULES, figure_of, summary

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
            "oracle": {"NDCG@10": 0.4167},
            "popularity": {"NDCG@10": {"mean": 0.15, "low": 0.12, "high": 0.18}, "HR@10": 0.31},
        },
        provenance={"seed": 7, "git": EVIL, "window": ["2024-01-01", "2024-04-01"]},
        note="1,234 users.",
        curves={"loss": [3.0, 2.0, 1.5, 1.4], "validation NDCG@10": [0.1, 0.2, 0.24, 0.22]},
        calibration={f"gender {EVIL}": (generator.random(500) < probability, probability)},
        summary=["It goes into use, because it is better.", EVIL],
        baseline="popularity",
        ways={f"challenger {EVIL}": {"NDCG@10": 0.375}},
        champion=[{"who": "all", "rows": 1234, "difference": 0.0125}],
        confusions={f"gender {EVIL}": (["f", "m"], np.array([[6, 1, 3], [0, 0, 0]]))},
        examples=[
            Example(
                "u7",
                f"3 events {EVIL}",
                ["looked at Lamp, 3 Mar"],
                [Said("Rug", 0.25, "chosen next", True, ["bought Mat, 1 Mar"])],
                [("Home", 0.7, float("nan"))],
            )
        ],
        popularity=(generator.integers(0, 9, 50), generator.integers(0, 40, 50)),
        tables={"Example users": [{"user": "u1", "history": ["Lamp", EVIL], "score": 0.12345}], "Slices": []},
    )
    return write_report(tmp_path_factory.mktemp("report") / "run" / "report.html", report).read_text()


def test_every_figure_stands_in_the_page(page: str):
    shown = (
        "It goes into use",
        "38 %",
        "1,234",
        "0.0125",
        "looked at Lamp, 3 Mar",
        "Rug, 25 %",
        "chosen next",
        "bought Mat, 1 Mar",
        "70 %, was –",
    )
    for text in (
        *shown,
        "0.2500",
        "[0.2100, 0.2900]",
        "0.3100",
        "rule first_model",
        "1,234 users.",
        "u1",
        "0.1235",
        "2024-01-01, 2024-04-01",
    ):
        assert text in page
    assert '<span class="badge">promoted</span>' in page
    assert "Slices" not in page


def test_plots_are_inside_and_nothing_is_fetched(page: str):
    assert page.count("<svg") == 6  # two metrics' intervals, two curves, calibration, popularity
    for heading in ("Training", "Probabilities against what happened", "Best sellers in the lists and in the records"):
        assert f"<h2>{heading}</h2>" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert not re.search(r"@import|url\((?!#)|[a-z]+://|<link|<script|<iframe|//[a-z]", page)


def test_a_confusion_cell_holds_its_count_and_its_share_of_the_true_value(page: str):
    cells = re.findall(
        r'<td style="background: color-mix\(in srgb, var\((--\w+)\) (\d+)\.0%, transparent\)">(\d+) <small>(\d+ %)</small>', page
    )
    assert cells[:3] == [("--good", "27", "6", "60 %"), ("--soft", "4", "1", "10 %"), ("--soft", "14", "3", "30 %")]
    assert cells[3:] == [("--soft", "0", "0", "0 %"), ("--good", "0", "0", "0 %"), ("--soft", "0", "0", "0 %")]


def test_markup_in_names_is_text_wherever_it_stands(page: str):
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(page)
    assert "script" not in tags
    assert page.count("&lt;script&gt;") >= 9


def test_a_refused_run_says_so_and_lacks_empty_sections(tmp_path: Path):
    report = Report("uplift", "", False, "qini nan: not promoted.", {"challenger": {"qini": float("nan")}}, {"seed": 1})
    written = write_report(tmp_path / "report.html", report).read_text()
    assert '<span class="badge">not promoted</span>' in written
    assert "<h2>Training</h2>" not in written
    assert "nan" not in re.sub(r"qini nan", "", written)


def test_the_same_figures_give_the_same_file(tmp_path: Path):
    report = Report("r", "", True, "", {"m": {"HR@10": 0.1}}, {}, curves={"loss": [2.0, 1.0]})
    assert write_report(tmp_path / "a.html", report).read_bytes() == write_report(tmp_path / "b.html", report).read_bytes()


def test_confusion_counts_every_row_of_a_known_value_and_what_is_not_said_is_unknown():
    truth = np.array(["f", "f", "f", "m", "m", "x"], object)
    said = np.array(["f", "m", "unknown", "m", "nonsense", "f"], object)
    assert confusion(truth, said, ["f", "m"]).tolist() == [[1, 1, 1], [0, 1, 1]]


def test_every_rule_of_the_gate_has_words_and_the_longest_ending_tells_the_figure():
    assert set(gate.RULES) | {"not_measurable", "nobody_promoted", "not_better", "asked_not_to"} == set(RULES)
    assert [figure_of(name) for name in ("gender logloss", "negative logloss", "churn_7d auc", "qini")] == [
        "logloss",
        "negative logloss",
        "auc",
        "qini",
    ]
    assert figure_of("something else") == ""


def test_the_summary_says_in_words_what_the_figures_say():
    figures = {"recommender": {"HR@10": 0.25, "NDCG@10": 0.1}, "popularity": {"HR@10": 0.031, "NDCG@10": 0.02}}
    told = summary(
        "recommender",
        False,
        "not_better",
        1200,
        figures,
        "popularity",
        "NDCG@10",
        {"mean": 0.01, "low": -0.01, "high": 0.03},
        None,
        {"recommender": {"HR@10": 0.9, "NDCG@10": 0.4}},
    )
    assert "1,200 customers were asked about" in told[1]
    assert "25 % of them chose one of its ten suggestions; of the ten best sellers it would be 3.1 %." in told[1]
    assert "Between showing everybody the best sellers (0 %) and these answers (100 %) the model stands at 40 %." in told[2]
    assert "about as well as the model in use" in told[3]
    assert told[4] == "It does not go into use, because it is not better than the model in use by more than chance explains."

    counts = {"team": (["a", "b"], np.array([[0, 0, 3], [0, 0, 4]]))}
    told = summary("portrait", True, "better", 7, {"portrait": {}}, "base rate", "negative logloss", None, counts)
    assert told[1] == "It names nobody's team: no answer is certain enough."
    counts = {"age_band": (["young", "old"], np.array([[6, 2, 2], [1, 7, 2]]))}
    told = summary(
        "portrait", True, "first_model", 20, {"portrait": {"purchase_30d auc": 0.81}}, "base rate", "negative logloss", None, counts
    )
    assert told[1] == "It names the age band of 80 % of customers and is right for 81 % of these; the others it calls unknown."
    assert "it gives the buyer the higher chance 81 % of the time" in told[2]
    assert told[3:] == [
        "No model is in use yet to compare it with.",
        "It goes into use, because it is better than the simple method and no model is in use yet.",
    ]
    told = summary(
        "uplift",
        True,
        "better",
        500,
        {"uplift": {"uplift@30%": 0.12}, "random": {"uplift@30%": 0.05}},
        "random",
        "qini",
        {"mean": 1, "low": 0.5, "high": 2},
        None,
        {"uplift": {"uplift@30%": 0.3, "qini": -0.1}},
    )
    assert "brings 12.0 more of 100 customers; sent to anybody, 5.0 more of 100" in told[1]
    assert "The model does not get nearer to them than drawing lots." in told[2]
    assert "does better than the model in use" in told[3]
