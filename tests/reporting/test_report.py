"""A report as files: complete, by itself, and true to the runs."""

import csv
import dataclasses
import json
import re

import evaluated_runs
import pytest
import read_html

from dro_jax.errors import ConfigError, DataError
from dro_jax.reporting.report import write_report
from dro_jax.reporting.reported_run import ReportedRun


@pytest.fixture(scope="module")
def html(written):
    return (written / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page(html):
    return read_html.read(html)


def test_all_parts_are_there_and_named(page):
    sections = page.all("section")
    assert [section.attributes["id"] for section in sections] == list(
        evaluated_runs.REPORT_PARTS
    )
    links = [a.attributes["href"] for a in page.all("nav")[0].all("a")]
    assert links == [f"#{name}" for name in evaluated_runs.REPORT_PARTS]
    for section in sections:
        (title,) = section.all("h2")
        assert title.attributes["id"] == section.attributes["aria-labelledby"]
    assert [
        len(page.all(tag)) for tag in ("h1", "header", "nav", "main", "footer")
    ] == [1] * 5
    assert page.all("html")[0].attributes["lang"] == "en"
    assert (
        page.all("a")[0].attributes["href"]
        == f"#{page.all('main')[0].attributes['id']}"
    )


def test_names_are_unique_and_lead_somewhere(page):
    names = [x.attributes["id"] for x in page.walk() if "id" in x.attributes]
    assert len(names) == len(set(names))
    for node in page.walk():
        for key in ("aria-labelledby", "aria-describedby", "for"):
            if key in node.attributes:
                assert node.attributes[key] in names
        links = re.findall(
            r"url\(#([^)]+)\)", " ".join(map(str, node.attributes.values()))
        )
        if node.tag in ("use", "a") and (target := node.attributes.get("href")):
            links.append(target.removeprefix("#"))
        assert set(links) <= set(names), node


def test_nothing_is_loaded(html, page):
    assert len(html.encode()) < 3_000_000
    assert [x.tag for x in page.walk() if "src" in x.attributes] == []
    targets = {x.attributes["href"] for x in page.walk() if "href" in x.attributes}
    assert {target for target in targets if not target.startswith("#")} == {"data:,"}
    assert re.findall(r"@import|url\((?!#)|https?:", html.replace("&lt;", "")) == []
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy")
    assert policy.attributes["content"].startswith("default-src 'none'")


def test_texts_of_models_stay_texts(page, html):
    assert len(page.all("script")) == len(page.all("head")[0].all("title")) == 1
    assert page.all("img") == []
    (said,) = {
        x.text for x in page.all("div", class_="text") if x.text.startswith("</script>")
    }
    assert "<img src=x onerror=alert(1)> <!-- & ]]> \u2028 ␀ ␛" in said
    assert "\x00" not in html


def test_tables_have_headers_and_figures_have_words(page):
    for table in page.all("table"):
        assert table.all("caption")[0].text
        columns = table.all("thead")[0].all("th", scope="col")
        for row in table.all("tbody")[0].all("tr"):
            assert len(row.all("th", scope="row")) == 1
            assert len(row.all("td")) == len(columns) - 1
    plots = page.all("svg", role="img")
    assert len(plots) > 15
    for plot in plots:
        assert plot.all("title")[0].text and plot.all("desc")[0].text
        assert not plot.all("metadata") and plot.all("text")


def test_files_beside_hold_the_numbers(written, reported):
    numbers = json.loads((written / "report.json").read_text("utf-8"))
    files = {x.relative_to(written).as_posix() for x in written.glob("*/*")}
    assert files == set(numbers["files"])
    assert {"tables/summary.csv", "figures/reward_against_kl.png"} <= files
    figures = reported[3].evaluated.figures
    assert numbers["summary"]["dro_v"]["reward"]["value"] == figures["reward"].value
    with (written / "tables/summary.csv").open(newline="") as file:
        rows = {(row["run"], row["figure"]): row for row in csv.DictReader(file)}
    assert float(rows["dro_v", "kl"]["low"]) == figures["kl"].low
    with (written / "tables/samples.csv").open(newline="", encoding="utf-8") as file:
        samples = list(csv.DictReader(file))
    assert len(samples) == 5 * 12
    png = (written / "figures/reward_against_kl.png").read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) > 5000


def test_no_folder_of_the_machine_is_told(written, reported):
    home = reported[0].folder.rpartition("/")[0]
    for path in written.rglob("*"):
        if path.suffix in (".html", ".json", ".csv"):
            assert home not in path.read_text("utf-8"), path
    assert "MODEL_DIR = &#x27;nll&#x27;" in (written / "report.html").read_text("utf-8")


def test_without_samples_no_text_is_left_in_any_file(reported, tmp_path):
    # A few figures take less time to draw than all.
    reported = [
        dataclasses.replace(
            run,
            metrics=(),
            win_rates=(),
            evaluated=dataclasses.replace(
                run.evaluated, tables={}, figures={"cut": run.evaluated.figures["cut"]}
            ),
        )
        for run in reported[2:4]
    ]
    write_report(reported, tmp_path, max_samples=3)
    assert (tmp_path / "tables/samples.csv").exists()
    (tmp_path / "figures/mine.png").write_bytes(b"")
    write_report(reported, tmp_path, max_samples=0)
    texts = {
        text
        for run in reported
        for x in run.evaluated.responses
        for text in (x.prompt, x.response, *x.references)
        if len(text) > 8
    }
    for path in tmp_path.rglob("*.*"):
        if path.suffix != ".png":
            content = path.read_text("utf-8")
            assert not [text for text in texts if text in content], path
    assert "Texts were left out" in (tmp_path / "report.html").read_text("utf-8")
    assert not (tmp_path / "tables/samples.csv").exists()
    assert (tmp_path / "figures/mine.png").exists()


def test_what_cannot_be_compared_is_refused(reported, tmp_path):
    other = ReportedRun(evaluated_runs.evaluated("other", num_prompts=5))
    with pytest.raises(DataError, match="answered different prompts .12 and 5, 5 of"):
        write_report([reported[0], other], tmp_path)
    with pytest.raises(ConfigError, match="two runs are called 'nll'"):
        write_report([reported[1], reported[1]], tmp_path)
    with pytest.raises(ConfigError, match="at least one run"):
        write_report([], tmp_path)
    with pytest.raises(ConfigError, match="--samples must be 0 or more"):
        write_report(reported, tmp_path, max_samples=-1)
    assert list(tmp_path.iterdir()) == []
