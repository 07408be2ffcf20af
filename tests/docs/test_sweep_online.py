"""docs/sweep_online.md quotes what its sweep's report wrote, which lies in docs/reports."""

import collections
import csv
import re
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "reports" / "online"
PAGE = (DOCS / "sweep_online.md").read_text("utf-8")
ENOUGH = 0.8


def ways():
    """Evaluations while training, by method and seed."""
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    with (FOLDER / "while_training.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            numbers = {
                x: float(row[x] or 0) for x in ("reward", "kl", "samples", "seconds")
            }
            found[row["run"]][row["seed"]][int(row["step"])] = numbers
    return found


def test_the_comparison_is_as_it_was_written():
    assert (FOLDER / "comparison.md").read_text("utf-8") in PAGE


def test_the_last_evaluations_are_those_of_the_log():
    for method, seeds in ways().items():
        last = [max(own) for own in seeds.values()]
        ends = [own[step] for own, step in zip(seeds.values(), last, strict=True)]
        mean = {name: np.mean([x[name] for x in ends]) for name in ends[0]}
        by_seed = ", ".join(f"{x['reward']:.2f}" for x in ends)
        row = (
            f"| {method} | {last[0]} | {mean['samples']:,.0f} | {mean['reward']:.2f} | "
        )
        row += (
            f"{by_seed} | {mean['kl']:.1f} | {mean['seconds']:.0f} | {enough(seeds)} |"
        )
        assert row in PAGE.splitlines(), row


def enough(seeds):
    for step in sorted(set.intersection(*map(set, seeds.values()))):
        own = [x[step] for x in seeds.values()]
        if np.mean([x["reward"] for x in own]) >= ENOUGH:
            seconds = f"{np.mean([x['seconds'] for x in own]):.0f} s"
            samples = own[0]["samples"]
            return f"{samples:,.0f} responses, {seconds}" if samples else seconds
    raise AssertionError("no such step")


def early():
    """Mean rewards of samples alone, and of log and samples, by 1,280 responses."""
    found = {
        method: np.mean([x["reward"] for own in seeds.values() for x in own.values()
                         if x["samples"] == 1280])
        for method, seeds in ways().items()
        if "samples" in method
    }  # fmt: skip
    assert found.pop("DRO-V, log and samples") > ENOUGH
    return {f"{min(found.values()):.2f}", f"{max(found.values()):.2f}"}


def test_what_is_said_has_its_numbers():
    """Each reward of the conclusions stands in a table of the page, or is a difference."""
    tables, conclusions = PAGE.split("## What it says")
    with (FOLDER / "differences.csv").open(encoding="utf-8", newline="") as file:
        rows = [x for x in csv.DictReader(file) if x["second"] == "DRO-V, log"]
    gaps = {f"{abs(float(row['difference'])):.2f}" for row in rows}
    # What is said of Holm's p: of all DRO that samples, and of PPO.
    p_of = {row["first"]: float(row["p_holm"]) for row in rows}
    assert f"{p_of.pop('PPO'):.2f}" == "0.14"
    assert f"{max(p_of.values()):.3f}" == "0.012"
    gaps |= {"0.14", "0.012"} | early()
    known = set(re.findall(r"\d+\.\d+", tables)) | gaps
    rounded = {f"{float(x):.2f}" for x in known}
    said = re.findall(r"\d+\.\d+", conclusions)
    assert len(said) > 8
    assert [x for x in said if x not in known | rounded] == []


def test_the_readme_has_the_same_figures():
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    labels = {
        "DRO-V, log": "DRO-V, of the log's 14,000 thumbs",
        "DRO-V, log and samples": "DRO-V, log and samples",
        "DRO-V, samples": "DRO-V, samples alone",
        "DRO of the group, samples": "DRO, V of the group at hand",
        "A*-PO, samples": "DRO, V of the reference's samples (A*-PO)",
        "PPO": "PPO",
    }
    found = ways()
    for method, label in labels.items():
        ends = [own[max(own)] for own in found[method].values()]
        samples, reward, kl = (
            np.mean([x[name] for x in ends]) for name in ("samples", "reward", "kl")
        )
        assert f"| {label} | {samples:,.0f} | {reward:.2f} | {kl:.1f} |" in readme


def test_pictures_are_there():
    pictures = re.findall(r"\]\((reports/[\w/]+\.png)\)", PAGE)
    assert len(pictures) == 3 and all((DOCS / x).is_file() for x in pictures)
