"""Compares runs that differ in nothing but how many processes share the devices.

    python tests/hosts/equality.py [--cases dro_v kto] [--json FILE]

Every case is trained twice in each layout, and once as one run that changes its layout
on the way, from checkpoint to checkpoint. The table says how far they are apart:
`equal` is bit by bit in parameters, optimiser state, data position and metrics. The exit
status is 1 where a layout does not repeat itself, two layouts of several processes
differ, or one process is further than rounding from them.
"""

import argparse
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "helpers"))

import command_runs
from run_differences import differences, distances
from several_processes import run_together

# Processes × devices of each; the first is another program than the others, whose
# collectives add up in another order.
LAYOUTS = ((1, 8), (2, 4), (4, 2))
PERIOD = 4  # steps between saves and evaluations, and in each layout of the last run
STEPS = PERIOD * len(LAYOUTS)
TOLERANCE = 5e-5  # of losses between one process and several: rounding, and its growth


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cases", nargs="+", default=list(command_runs.CASES), help="what to train"
    )
    parser.add_argument("--json", type=pathlib.Path, help="where the figures go")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        command_runs.keep_compiled(folder / "compiled")
        command_runs.prepare(folder)
        rows = []
        for case in arguments.cases:
            rows.append(compare(folder, case))
            print(_line(rows[-1].values()), flush=True)
    print("\n".join([_line(rows[0]), _line("---" for _ in rows[0])]))
    print("\n".join(_line(row.values()) for row in rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    good = all(is_as_promised(row) for row in rows)
    print("as promised" if good else "NOT AS PROMISED")
    return 0 if good else 1


def compare(folder: pathlib.Path, case: str) -> dict[str, str | float]:
    """A row of the table: a case's runs in all layouts."""
    runs = folder / case
    row: dict[str, str | float] = {"case": case}
    for layout in LAYOUTS:
        one, again = runs / _name(layout), runs / f"{_name(layout)} again"
        for model_dir in (one, again):
            train(folder, case, model_dir, layout, STEPS)
        row[f"{_name(layout)} twice"] = verdict(one, again, STEPS)
    first, *others = (runs / _name(layout) for layout in LAYOUTS)
    row["2×4 and 4×2"] = verdict(*others, STEPS)
    apart = distances(first, others[0], STEPS)
    row["1×8 and 2×4: losses"] = apart["loss"]
    row["parameters"] = apart["params"]
    moved = runs / "moved"
    for part, layout in enumerate((*LAYOUTS[1:], LAYOUTS[0]), start=1):
        train(folder, case, moved, layout, part * PERIOD)
    row["2×4 → 4×2"] = verdict(others[0], moved, 2 * PERIOD)
    row["→ 1×8: losses"] = distances(others[0], moved, STEPS)["loss"]
    return row


def is_as_promised(row: dict[str, str | float]) -> bool:
    """Whether a row's figures are what docs/many_hosts.md says."""
    return all(
        value == "equal" if isinstance(value, str) else value < TOLERANCE
        for name, value in row.items()
        if name not in ("case", "parameters")
    )


def train(folder, case, model_dir, layout, steps) -> None:
    """A run in a layout, from the start or from where it was left, to some step."""
    settings = {"TRAIN_STEPS": steps, "KEEP_CHECKPOINTS": None}
    settings |= {"CHECKPOINT_PERIOD": PERIOD, "EVAL_PERIOD": PERIOD}
    run_together(
        command_runs.train,
        *command_runs.flags_of(folder, case, model_dir, **settings),
        "--allow_change=TRAIN_STEPS",
        count=layout[0],
        devices=layout[1],
        timeout=600,
        logs=folder / "logs" / case,
    )


def verdict(one: pathlib.Path, other: pathlib.Path, step: int) -> str:
    """`equal`, or what differs."""
    return "; ".join(differences(one, other, step)) or "equal"


def _name(layout: tuple[int, int]) -> str:
    return f"{layout[0]}×{layout[1]}"


def _line(cells) -> str:
    texts = (f"{cell:.1e}" if isinstance(cell, float) else cell for cell in cells)
    return f"| {' | '.join(texts)} |"


if __name__ == "__main__":
    sys.exit(main())
