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
from counterpoint.report import write_report
from counterpoint.report.charts import Scale, thin
from counterpoint.report.curves import training_charts
from counterpoint.report.embedding_map import project, stratified
from counterpoint.report.folder import Cell, read_run
from counterpoint.report.page import headline_of
from report_run import HOSTILE, METRICS, Page, account, score, scores, write_run

SECTIONS = [
    "verdict",
    "scores",
    "folds",
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
    assert best == [max(row["scores"][metric]["value"] for row in told["rows"]) for metric in METRICS]


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
    change(folder, "scores.json", rows=rows, folds=[], transfer=..., confusion={}, findings=[], simulated=False)
    change(folder, "data.json", quarantine=[], classes={}, audit={})
    page = write_report(folder).read_text(encoding="utf-8")
    assert "too few independent groups" in page
    assert "No fine-tuning was asked for" in page
    assert "No confusion matrix" in page
    assert "No recording was left out" in page
    assert not re.search(r"\bnan\b", page[page.index("<main>") : page.index("</main>")], re.IGNORECASE)


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
