"""The report: pure from the run folder, self-contained, true to its numbers, safe against hostile names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import BINARY, Browser
from counterpoint.evaluate.projection import project, stratified
from counterpoint.products import write_products
from counterpoint.report import write_report
from counterpoint.report.charts import Scale, thin
from counterpoint.report.curves import training_charts
from counterpoint.report.documents import Calibration, Interval, Row, Scores
from counterpoint.report.folder import Cell, read_run
from counterpoint.report.page import headline_of
from counterpoint.report.tables import gain, leaders, reliability_chart, score_table, shot_tables
from judged_run import write_judged
from report_run import (
    BIN_ROWS,
    CLASSES,
    HOSTILE,
    LOWER,
    METRICS,
    SHOT_METRICS,
    WIDTH,
    Page,
    account,
    score,
    scores,
    write_run,
)

SECTIONS = [
    "verdict",
    "scores",
    "detection",
    "retrieval",
    "folds",
    "calibration",
    "modalities",
    "shots",
    "transfer",
    "training",
    "map",
    "confusion",
    "data",
    "findings",
    "reproduce",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def change(folder: Path, name: str, **values: Any) -> None:
    document = json.loads((folder / name).read_text(encoding="utf-8"))
    document = {key: value for key, value in (document | values).items() if value is not ...}
    (folder / name).write_text(json.dumps(document), encoding="utf-8")


def test_every_section_is_there_once_and_linked(text: str) -> None:
    page = Page(text)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    targets = {value for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    assert {f"#{name}" for name in SECTIONS} <= targets
    assert len(page.ids) == len(set(page.ids))


def test_nothing_leaves_the_page(text: str) -> None:
    page = Page(text)
    for tag, name, value in page.attributes:
        if name in ("src", "srcset", "action", "data", "poster", "href"):
            assert value.startswith(("#", "data:")), (tag, name, value)
        assert not name.startswith("on"), (tag, name)
    style = "".join(page.texts["style"]) + " ".join(value for _, name, value in page.attributes if name == "style")
    assert "url(" not in style
    assert "@import" not in style
    script = text[text.rindex("<script>") :]
    assert not re.search(r"https?:|//cdn|fetch\(|XMLHttpRequest|import\(", script)
    assert any(value.startswith("default-src 'none'") for _, name, value in page.attributes if name == "content")


def test_numbers_are_those_of_the_scores(text: str) -> None:
    table = text[text.index('<table class="scores main">') :]
    table = table[: table.index("</table>")]
    shown = [float(value) for value in re.findall(r'<data value="([^"]+)">', table)]
    told = scores()
    expected = [
        row["scores"][metric][end] for row in told["rows"] for metric in METRICS for end in ("value", "low", "high")
    ]
    assert shown == expected + [told["chance"][metric] for metric in METRICS]
    words = re.findall(r"<data value=\"([^\"]+)\">([^<]+)</data>", table)
    assert all(word == f"{float(value):.3f}" for value, word in words)
    best = [float(value) for value in re.findall(r'num best"[^>]*>\s*<data value="([^"]+)"', table)]
    ends = [min if metric in LOWER else max for metric in METRICS]
    assert best == [
        end(row["scores"][metric]["value"] for row in told["rows"]) for metric, end in zip(METRICS, ends, strict=True)
    ]
    said = re.findall(r'<th scope="col" class="num">([^<]+)<span class="interval">lower is better', table)
    assert said == ["Brier score", "calibration error"]


def test_hostile_names_stay_text(text: str) -> None:
    page = Page(text)
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert "evil.example" in text
    assert any(HOSTILE in "".join(texts) for tag, texts in page.texts.items() if tag == "th")
    plotted = json.loads("".join(page.texts["script"][:1]))
    assert HOSTILE in plotted["map"]["names"]


def test_undefined_intervals_and_absent_parts(tmp_path: Path) -> None:
    folder = write_run(tmp_path, rows=100)
    rows = [{"name": "probe", "kind": "model", "scores": {METRICS[0]: score(0.7, math.nan)}}]
    gone: dict[str, Any] = {"confusion": {}, "calibration": {}, "shots": [], "per_class": {}, "detection": {}}
    change(folder, "scores.json", rows=rows, folds=[], transfer=..., findings=[], simulated=False, **gone)
    change(folder, "data.json", quarantine=[], classes={}, audit={})
    page = write_report(folder).read_text(encoding="utf-8")
    assert "too few independent groups" in page
    assert "No fine-tuning was asked for" in page
    assert "No confusion matrix" in page
    assert "No recording was left out" in page
    assert not re.search(r"\bnan\b", page[page.index("<main>") : page.index("</main>")], re.IGNORECASE)


def section(text: str, name: str) -> str:
    """The text of one section of a page."""
    start = text.index(f'<section id="{name}">')
    return text[start : text.index("</section>", start)]


def test_the_strongest_baseline_has_the_smallest_score_where_lower_is_better() -> None:
    by_name = {"weak": 0.21, "strong": 0.09, "middling": 0.14}
    rows: list[dict[str, Any]] = [{"name": "probe", "kind": "model", "scores": {"brier": score(0.1)}}]
    rows += [{"name": name, "kind": "baseline", "scores": {"brier": score(v)}} for name, v in by_name.items()]
    told = Scores.model_validate(scores() | {"metric": "brier", "rows": rows, "confusion": {}})
    assert [(title, row.name) for title, row in leaders(told)] == [("Model", "probe"), ("Strongest baseline", "strong")]
    better, worse = (Interval(value=value, low=None, high=None, groups=9) for value in (0.1, 0.15))
    assert gain("brier", better, worse) == gain("auroc", worse, better) == "+0.050"
    assert gain("brier", better, Interval(value=None, low=None, high=None, groups=0)) == "–"


def test_bars_lie_at_their_scores_and_keep_inside(text: str) -> None:
    told = [Row.model_validate(row) for row in scores()["rows"]]
    table = score_table(told, METRICS, scores()["chance"])
    for metric in METRICS:
        values = [row.entries[metric].score.value for row in table]
        places = [row.entries[metric].bar.value for row in table]
        assert all(4 <= place <= row.entries[metric].bar.width - 4 for row, place in zip(table, places, strict=True))
        assert np.corrcoef(np.array(values, float), places)[0, 1] == pytest.approx(1.0, abs=1e-3)


def test_calibration_shows_every_bin_and_the_diagonal(text: str) -> None:
    page = section(text, "calibration")
    told = scores()["calibration"]
    shown = [float(value) for value in re.findall(r'<data value="([^"]+)">', page)]
    assert shown == [bin[key] for bin in told["bins"] for key in ("predicted", "observed")]
    assert re.findall(r'<td class="num">(\d+)</td></tr>', page) == [str(rows) for rows in BIN_ROWS]
    chart = reliability_chart(Calibration.model_validate(told))
    diagonal, observed = chart.lines
    start, end = (tuple(map(float, pair.split(","))) for pair in diagonal.path[1:].split("L"))
    assert (start, end) == ((50, 212), (386, 12))  # corner to corner: both axes have the same ends
    assert len(observed.dots) == len(BIN_ROWS)
    assert len(observed.whiskers) == len(BIN_ROWS) - 1
    above = [bin["observed"] > bin["predicted"] for bin in told["bins"]]
    for (x, y), over in zip(observed.dots, above, strict=True):
        assert (y < 212 - (x - 50) / 336 * 200) == over


def test_few_labels_are_shown_beside_the_baseline_fewest_first(text: str) -> None:
    page = section(text, "shots")
    assert re.findall(r"<h3>(\d+) labelled rows</h3>", page) == ["100", "400"]
    told = sorted(scores()["shots"], key=lambda shot: shot["labels"])
    shown = [float(value) for value in re.findall(r'<data value="([^"]+)">', page)]
    ends = ("value", "low", "high", "spread")
    assert shown == [a["scores"][m][e] for shot in told for a in shot["answers"] for m in SHOT_METRICS for e in ends]
    assert "over draws" in page
    assert "over seeds" not in page
    differences = re.findall(r"balanced accuracy: <b>([^<]+)</b>", page)
    assert differences == [shot["difference"]["text"] for shot in told]
    bars = shot_tables(Scores.model_validate(scores()))
    places = {(row.name, table.labels): row.entries[METRICS[0]].bar.value for table in bars for row in table.rows}
    few, many = places["linear probe", 100], places["linear probe", 400]
    assert places["summary statistics, logistic regression", 100] < few < many  # one ruler for both tables


def test_a_run_without_the_newer_keys_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path, rows=60)
    change(folder, "scores.json", calibration=..., shots=..., per_class=..., detection=..., modalities=...)
    change(folder, "scores.json", retrieval=...)
    change(folder, "data.json", events=...)
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    newer = ("detection", "retrieval", "calibration", "modalities", "shots")
    assert [name for name in page.ids if name in SECTIONS] == [n for n in SECTIONS if n not in newer]
    targets = {value for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    assert not targets & {f"#{name}" for name in newer}
    change(folder, "scores.json", calibration={}, shots=[], per_class={}, detection={}, modalities={}, retrieval={})
    assert Page(write_report(folder).read_text(encoding="utf-8")).ids == page.ids


def test_every_class_has_its_scores_and_an_unknown_one_is_a_dash(text: str) -> None:
    table = section(text, "confusion")
    table = table[table.index('<table class="scores classes">') :]
    told = scores()["per_class"]
    lines = [*told["classes"], *told["averages"]]
    ends = [line[s][e] for line in lines for s in ("precision", "recall", "f1") for e in ("value", "low", "high")]
    shown = [float(value) for value in re.findall(r'<data value="([^"]+)">', table)]
    assert shown == [end for end in ends if end is not None]
    assert table.count("–") == 1
    assert [int(rows) for rows in re.findall(r'<td class="num">(\d+)</td>', table)] == [40, 41, 42, 43, 44]
    assert "Never predicted, so without a precision and left out of its averages: outer race" in text


def test_detection_shows_every_answer_the_difference_and_each_defect(text: str) -> None:
    page, told = section(text, "detection"), scores()["detection"]
    shown = [float(value) for value in re.findall(r'<data value="([^"]+)">', page)]
    metrics, ends = ("auroc", "auprc", "balanced_accuracy"), ("value", "low", "high")
    answers = [row["scores"][metric][end] for row in told["rows"] for metric in metrics for end in ends]
    levels = [told["chance"][metric] for metric in metrics]
    kinds = [end for kind in told["classes"] for end in (kind["auroc"][e] for e in ends) if end is not None]
    assert shown == answers + levels + kinds
    assert f"<b>{told['difference']['text']}</b>" in page
    assert page.count("<table") == 2
    assert "minus the best baseline, random kernels + logistic regression" in page


def test_modalities_stand_beside_the_fused_answer(text: str) -> None:
    page, told = section(text, "modalities"), scores()["modalities"]
    answers = [told["fused"], *told["alone"], *told["without"]]
    shown = [float(value) for value in re.findall(r'<data value="([^"]+)">', page)]
    assert shown == [one["scores"][METRICS[0]][end] for one in answers for end in ("value", "low", "high")]
    assert re.findall(r'<td class="num">([+][^<]+)</td>', page) == ["+0.062", "+0.213", "+0.083"]
    assert re.findall(r'<td class="num quiet">(\d+)</td>', page) == ["3", "0", "1"]
    assert "Best alone: sound." in page


def test_retrieval_has_a_table_a_question_with_gallery_and_chance(text: str) -> None:
    page, told = section(text, "retrieval"), scores()["retrieval"]
    assert page.count("<table") == 2
    assert page.count("gallery of 512, 317 different; 500 queries; 12 rows lack a side and do not ask") == 2
    shown = [float(value) for value in re.findall(r'<data value="([^"]+)">', page)]
    expected, ends = [], ("value", "low", "high")
    for answers in (told["rows"][:2], told["rows"][2:]):
        expected += [score[end] for one in answers for score in one["scores"].values() for end in ends]
        expected += [one["chance"] for one in answers[0]["scores"].values()]
    assert shown == expected
    assert page.index("fused → text") < page.index("text → fused")


def test_events_are_counted_by_kind(text: str) -> None:
    table = section(text, "data")
    table = table[table.index('<table class="events">') :]
    table = table[: table.index("</table>")]
    rows = re.findall(r'<th scope="row">([^<]+)</th><td class="num">([^<]+)</td><td class="num">([^<]+)</td>', table)
    assert rows == [("non finite", "1,207", "3"), ("clipped", "41", "29")]
    assert "train/17.parquet, row 4, HR: inf" in table
    assert "<script" not in table


def test_a_page_speaks_of_rows(text: str) -> None:
    """A row may be a window of a recording or a whole stay; only the counts of the data know."""
    main = text[text.index("<main>") : text.index("</main>")]
    told = section(text, "data")
    assert "window" not in main.replace(told, "")


@pytest.mark.parametrize(
    "name",
    [
        "recipe.yaml",
        "data.json",
        "environment.json",
        "scores.json",
        "cells/load 1-seed0/metrics.csv",
        "cells/load 0-seed0/embeddings/train.parquet",
        "cells/load 0-seed0/embeddings/test.parquet",
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path, rows=60)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=re.escape(str(folder / name))):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_missing_key_is_named_with_its_file(tmp_path: Path) -> None:
    folder = write_run(tmp_path, rows=60)
    change(folder, "scores.json", verdict=..., confusion={"evaluator": "probe", "classes": []})
    with pytest.raises(ValueError, match=r"scores\.json: confusion\.counts: .*verdict: "):
        write_report(folder)
    with pytest.raises(ValueError, match="no such run folder"):
        write_report(tmp_path / "nowhere")


def test_cells_come_by_fold_and_seed_and_name_where_nothing_is_learned(run: Path) -> None:
    cells = read_run(run).cells
    assert [(cell.fold, cell.seed) for cell in cells] == [(f"load {k}", s) for k in range(3) for s in (0, 1)]
    loss = training_charts(cells)[0]
    assert [mark.text for mark in loss.references] == [
        "nothing learned: ln 64 = 4.16",
        "nothing learned in validation: ln 37 = 3.61",
    ]
    assert len(loss.lines) == 12
    assert {line.cell for line in loss.lines} == set(range(6))


def test_curves_show_what_a_variational_run_logs(run: Path) -> None:
    charts = {chart.title: chart for chart in training_charts(read_run(run).cells)}
    assert list(charts)[:6] == [
        "Loss",
        "Reconstruction",
        "KL divergence",
        "Active units",
        "Mutual information",
        "Outcome",
    ]
    divergence, active = charts["KL divergence"], charts["Active units"]
    assert [line.style for line in divergence.lines] == ["solid", "dashed"] * 6
    assert divergence.values[0]["y"][-1] == 6.0  # of train/kl, not of train/kl_weight, which stands before it
    assert divergence.values[1]["y"][-1] == 5.0
    assert active.values[0]["y"][-1] == 20
    assert [mark.text for mark in active.references] == [f"all {WIDTH}"]
    assert "Learning rate" in charts


def test_a_log_without_a_line_of_nothing_learned_does_not_speak_of_one() -> None:
    log = {"step": np.arange(3.0), "train/loss": np.array([3.0, 2.0, 1.0])}
    (chart,) = training_charts([Cell("a", 0, Path(), log)])
    assert (chart.note, chart.references) == ("Lower is better.", [])


def test_a_run_shorter_than_its_log_has_no_curves() -> None:
    assert training_charts([Cell("a", 0, Path(), {})]) == []


def test_projection_is_that_of_sklearn() -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    basis = (rng.standard_normal((200, 9)) @ rng.standard_normal((9, 9))).astype(np.float32)
    rows = rng.standard_normal((30, 9)).astype(np.float32)
    flat, explained = project(basis, rows)
    reference = PCA(2, svd_solver="full").fit(basis.astype(np.float64))
    np.testing.assert_allclose(np.abs(flat), np.abs(reference.transform(rows)), atol=1e-3)
    np.testing.assert_allclose(explained, reference.explained_variance_ratio_, rtol=1e-4)
    for narrow in (np.ones((5, 1), np.float32), np.zeros((5, 3), np.float32)):
        assert project(narrow, narrow) == (pytest.approx(np.zeros((5, 2))), (0.0, 0.0))


def test_a_choice_of_points_keeps_every_stratum_in_proportion() -> None:
    strata = np.repeat([[0, 0], [0, 1], [1, 0], [1, -1]], [8000, 3000, 1000, 2], axis=0)
    kept = stratified(strata, 3000)
    assert len(kept) == len(set(kept.tolist())) <= 3000
    found, counts = np.unique(strata[kept], axis=0, return_counts=True)
    assert len(found) == 4
    assert counts.tolist() == pytest.approx([2000, 750, 1, 250], abs=4)
    assert (np.diff(strata[kept, 0]) >= 0).all()
    np.testing.assert_array_equal(kept, stratified(strata, 3000))


def test_thinning_keeps_spikes_and_ends() -> None:
    y = np.sin(np.arange(5000) / 300)
    y[2345] = 40.0
    x, kept = thin(np.arange(5000.0), y, 100)
    assert len(x) <= 100
    assert (x[0], x[-1], kept.max()) == (0, 4999, 40.0)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-3.2, -0.4, ["-3", "-2", "-1"]),
        (0.0, 1e-3, ["0", "2.0e-4", "4.0e-4", "6.0e-4", "8.0e-4", "1.0e-3"]),
        (0.0, 12000.0, ["0", "2,500", "5,000", "7,500", "10,000"]),
    ],
)
def test_ticks_are_round(low: float, high: float, texts: list[str]) -> None:
    ticks = Scale(low, high, 0.0, 100.0).ticks(5)
    assert [tick.text for tick in ticks] == texts
    assert all(-0.1 <= tick.at <= 100.1 for tick in ticks)


def test_a_verdict_opens_with_its_first_sentence() -> None:
    assert headline_of("It beats 0.81 of k-NN. The gap is 0.06.") == (
        "It beats 0.81 of k-NN.",
        "The gap is 0.06.",
    )
    assert headline_of("No.") == ("No.", "")


def test_a_large_run_stays_under_the_budget(tmp_path: Path) -> None:
    folder = write_run(tmp_path, rows=9000)
    bad = account()["quarantine"][0]
    change(folder, "data.json", quarantine=[bad | {"recording": f"r{i}"} for i in range(20_000)])
    assert write_report(folder).stat().st_size < 3_000_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not BINARY:
        pytest.skip("no Chromium on this machine; apt-get install chromium")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def count(browser: Browser, selector: str) -> int:
    return int(browser.run(f"document.querySelectorAll({json.dumps(selector)}).length"))


def click(browser: Browser, selector: str) -> None:
    browser.run(f"document.querySelector({json.dumps(selector)}).click()")


def test_browser_opens_the_page_without_complaint_or_request(run: Path, browser: Browser) -> None:
    page = write_report(run)
    for width, scheme in ((390, "dark"), (1280, "light")):
        browser.open(page, width=width, scheme=scheme)
        assert browser.run("document.documentElement.scrollWidth") <= width
    flat = "[...document.querySelectorAll('svg')].filter(svg => !svg.getBoundingClientRect().height).length"
    assert browser.run(flat) == count(browser, "[hidden] svg, details:not([open]) > :not(summary) svg")
    paint = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(paint)
    click(browser, "#theme")
    assert browser.run(paint) != light
    assert browser.complaints() == []
    assert set(browser.requests()) == {page.resolve().as_uri()}


def test_browser_reads_filters_and_recolours_the_map(run: Path, browser: Browser) -> None:
    browser.open(write_report(run))
    x, y = browser.run(
        "(() => { const point = document.querySelector('#points use:last-child');"
        "point.scrollIntoView({block: 'center', behavior: 'instant'}); const box = point.getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2] })()"
    )
    browser.mouse("mouseMoved", x, y)
    told = browser.run("document.getElementById('tip').textContent")
    assert re.fullmatch(r"recording .+\nlabel .+\ngroup \d+\ndomain \d+\nsplit test", told)
    every = count(browser, "#points use:not([hidden])")
    click(browser, "[data-split='0']")
    tests = count(browser, "#points use:not([hidden])")
    assert tests == count(browser, "#points use[href='#m1']") < every
    click(browser, "input[value=domain]")
    click(browser, "[data-mode=domain] [data-category='0']")
    assert 0 < count(browser, "#points use:not([hidden])") < tests
    assert browser.run("new Set([...document.querySelectorAll('#points use')].map(p => p.className.baseVal)).size") == 3
    assert browser.complaints() == []


def test_browser_reads_and_hides_curves(run: Path, browser: Browser) -> None:
    browser.open(write_report(run))
    lines = count(browser, "#curves .line:not([hidden])")
    click(browser, "[data-toggle='1']")
    assert count(browser, "#curves .line:not([hidden])") == lines - count(browser, "#curves [data-cell='1']")
    key = "dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
    browser.run(f"document.querySelector('#curves [data-chart]').{key}")
    told = browser.run("document.getElementById('tip').textContent")
    assert told.startswith("step 10\nload 0, seed 0: ")
    assert "load 0, seed 1" not in told
    assert browser.complaints() == []


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with predictions, so with curves and layouts too."""
    folder = write_judged(tmp_path_factory.mktemp("runs") / "judged")
    write_products(folder)
    return folder


def test_curves_of_the_main_answer_stand_beside_those_of_the_best_baseline(judged: Path) -> None:
    page = write_report(judged).read_text(encoding="utf-8")
    ranking, spread = section(page, "ranking"), section(page, "probabilities")
    assert ranking.count("data-chart") == 2
    assert re.findall(r'key (?:solid|dashed)">([^<]+)', ranking) == [
        "linear probe",
        "random kernels + logistic regression ",
    ]
    assert ranking.count('class="band"') == 4
    assert spread.count("data-chart") == len(CLASSES)
    plotted = json.loads("".join(Page(page).texts["script"][:1]))
    numbers = [int(value) for value in re.findall(r'data-chart="(\d+)"', page)]
    assert sorted(numbers) == list(range(len(plotted["charts"])))
    kept = json.loads((judged / "curves.json").read_text(encoding="utf-8"))
    drawn = {int(place): plotted["charts"][int(place)] for place in re.findall(r'data-chart="(\d+)"', ranking)}
    roc = next(iter(drawn.values()))
    assert roc[1]["y"][1:] == pytest.approx(kept["answers"][0]["roc"]["y"], abs=1e-3)
    assert len(page) < 1_500_000


def test_a_run_without_curves_is_read(run: Path) -> None:
    assert not (run / "curves.json").exists()
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert not {"ranking", "probabilities"} & set(page.ids)


def test_browser_draws_every_picture_and_lays_the_map_out_anew(judged: Path, browser: Browser) -> None:
    page = write_report(judged)
    already, asked = len(browser.complaints()), len(browser.requests())
    for width in (390, 1280):
        browser.open(page, width=width)
        assert browser.run("document.documentElement.scrollWidth") <= width
        empty = (
            "[...document.querySelectorAll('figure svg')].filter(svg => !svg.querySelector('.line path[d^=M]')).length"
        )
        assert browser.run(empty) == 0
    places = "[...document.querySelectorAll('#points use')].map(p => [+p.getAttribute('x'), +p.getAttribute('y')])"
    assert count(browser, "input[name=layout]") >= 2
    assert browser.run("[...document.querySelectorAll('[data-told]:not([hidden])')].map(n => n.dataset.told)") == [
        "pca"
    ]
    before = browser.run(places)
    click(browser, "input[value=tsne]")
    after = browser.run(places)
    told = json.loads(browser.run("document.getElementById('plotted').textContent"))["map"]["places"]
    assert before == told["pca"]
    assert after == told["tsne"]
    assert before != after
    assert browser.run("[...document.querySelectorAll('[data-told]:not([hidden])')].map(n => n.dataset.told)") == [
        "tsne"
    ]
    click(browser, "input[value=pca]")
    assert browser.run(places) == before
    assert browser.complaints()[already:] == []
    assert set(browser.requests()[asked:]) == {page.resolve().as_uri()}
