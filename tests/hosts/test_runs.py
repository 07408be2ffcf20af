"""`dro-jax train` in several processes; whole tables: `equality.py` and `kills.py`."""

import shutil

import command_runs
import equality
import kills
import pytest
from run_differences import distances


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("runs")
    command_runs.prepare(made)
    return made


@pytest.mark.slow
def test_layouts_of_processes_and_devices_are_one_run(folder):
    two, four, moved = folder / "2×2", folder / "4×1", folder / "1×4"
    half, whole = equality.PERIOD, 2 * equality.PERIOD
    for model_dir, layout in ((two, (2, 2)), (four, (4, 1))):
        equality.train(folder, "dro_p", model_dir, layout, whole)
    assert equality.verdict(two, four, whole) == "equal"
    # One process goes on from where two were halfway.
    shutil.copytree(two, moved, ignore=lambda *_: [f"checkpoint_{whole}"])
    equality.train(folder, "dro_p", moved, (1, 4), whole)
    assert equality.verdict(two, moved, half) == "equal"
    assert distances(two, moved, whole)["loss"] < equality.TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL of rank 0", "a refusal of rank 1"])
def test_no_process_stays_without_the_others(folder, tmp_path, name):
    (event,) = (event for event in kills.EVENTS if event.name == name)
    row = kills.Table(folder, devices=1).happen(event, tmp_path / "run")
    assert row["verdict"] == kills.AS_TOLD
