"""docs/sweep_poisoned.md holds what the sweep's runs came to, in docs/reports/poisoned."""

import csv
import re
from pathlib import Path
from statistics import mean

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "sweep_poisoned.md").read_text("utf-8")
FOLDER = DOCS / "reports" / "poisoned"


def falls():
    """Clean and spoilt rewards by feedback and objective, a pair for each seed."""
    with (FOLDER / "rewards.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        if row["objective"] != "reference":
            key = row["feedback"], row["objective"]
            seeds = found.setdefault(key, {}).setdefault(row["seed"], {})
            seeds[row["log"]] = float(row["reward"])
    return {
        key: [(x["clean"], x["a third spoilt"]) for _, x in sorted(seeds.items())]
        for key, seeds in found.items()
        if all(len(x) == 2 for x in seeds.values()) and len(seeds) == 3
    }


def test_each_fall_has_its_row():
    found = falls()
    assert len(found) >= 5
    for (feedback, objective), pairs in found.items():
        clean, spoilt = (mean(x) for x in zip(*pairs, strict=True))
        lost = clean - spoilt
        by_seed = ", ".join(f"{a - b:.3f}" for a, b in pairs)
        figures = f"{clean:.3f} | {spoilt:.3f} | {lost:.3f} | {lost / clean:.0%}"
        assert f"| {feedback} | {objective} | {figures} | {by_seed} |" in PAGE


def test_a_lol_falls_less_than_weighted_bc_and_far_less_than_nll():
    """What the page says, of means; seeds one by one do not all say so."""
    lost = {key: mean(a - b for a, b in pairs) for key, pairs in falls().items()}
    for feedback in ("thumbs", "stars"):
        if (feedback, "A-LoL") in lost:
            own, other, clone = (
                lost[feedback, name] for name in ("A-LoL", "weighted BC", "NLL")
            )
            assert own < other < clone / 2


def test_numbers_of_the_words_stand_in_the_tables():
    said, _, _ = PAGE.partition("## The sweep's tables")
    words = "\n".join(x for x in said.splitlines() if not x.startswith("|"))
    shown = {x for line in PAGE.splitlines() if line.startswith("|")
             for x in re.findall(r"\d+\.\d{3}", line)}  # fmt: skip
    assert [x for x in re.findall(r"\d+\.\d{3}", words) if x not in shown] == []


def test_the_table_is_as_the_report_wrote_it():
    assert (FOLDER / "comparison.md").read_text("utf-8").strip() in PAGE
