"""`sweep.json`: what is written is read, and what is damaged is told."""

import json

import pytest

from dro_jax.errors import DataError
from dro_jax.reporting.sweep_results import RESULTS, SweepResults, SweptTrial
from dro_jax.sweeps import results

TRIAL = SweptTrial(
    7, "policies", "KTO · TAU 0.1 · seed 0", {"objective": "KTO", "TAU": 0.1},
    unused=("BETA",), seed_axis="RANDOM_SEED", state="failed", reason="no memory",
    folder="policies/0007_KTO", seconds=3.5, steps=40, tokens=999, tries=2,
    worker="desk:1", key="ab12",
)  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    assert results.SweptTrial is SweptTrial and results.SweepResults is SweepResults
    swept = SweepResults(
        "s", "objective", ("reference", "policies"), (TRIAL,), ("NOISE",)
    )
    swept.write(tmp_path)
    assert SweepResults.read(tmp_path) == swept


def test_values_that_are_no_json_are_written_as_text(tmp_path):
    class Reference:
        def __str__(self):
            return "@adamw()"

    odd = SweptTrial(
        0, "a", "b", {"OPTIMIZER": Reference(), "lengths": (1, None, True)}
    )
    SweepResults("s", "o", ("a",), (odd,)).write(tmp_path)
    (read,) = SweepResults.read(tmp_path).trials
    assert read.values == {"OPTIMIZER": "@adamw()", "lengths": [1, None, True]}


@pytest.mark.parametrize(
    "damage",
    [
        lambda fields: None,
        lambda fields: [fields],
        lambda fields: {**fields, "stages": []},
        lambda fields: {k: x for k, x in fields.items() if k != "compared"},
        lambda fields: {**fields, "trials": [{"number": 1}]},
        lambda fields: {**fields, "trials": [{**fields["trials"][0], "state": "gone"}]},
    ],
)
def test_what_is_damaged_is_refused(tmp_path, damage):
    SweepResults("s", "objective", ("policies",), (TRIAL,)).write(tmp_path)
    path = tmp_path / RESULTS
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "of a newer version": 1}))
    assert SweepResults.read(tmp_path).trials == (TRIAL,)
    path.write_text("{" if (new := damage(fields)) is None else json.dumps(new))
    with pytest.raises(DataError, match="dro-jax sweep"):
        SweepResults.read(tmp_path)


def test_no_file_is_told(tmp_path):
    with pytest.raises(DataError, match="sweep.json cannot be read"):
        SweepResults.read(tmp_path)
