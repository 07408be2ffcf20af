"""One sweep's report, written once for all tests of its page."""

import dataclasses
import math
import shutil

import pytest
from swept_runs import Made, made_sweep, settings_of

from dro_jax.reporting.sweep_results import SweptTrial
from dro_jax.reporting.swept.report import write_sweep_report


def of(values):
    """DRO-V is best at TAU 0.1; a high TAU stays near the reference."""
    if values["objective"] == "NLL":
        return Made(0.1, 0.6, noise=0.2, luck=0.01)
    tau = values["TAU"]
    high = {"DRO-V": 0.7, "KTO": 0.4}[values["objective"]]
    reward = high - 0.2 * math.log10(tau / 0.1) ** 2
    return Made(reward, 0.4 / tau**0.7, noise=0.2, luck=0.01)


def more(sweep, **fields):
    """A trial that is not complete."""
    number = 100 + fields.pop("number")
    given = {
        "stage": "policies", "label": f"KTO · TAU 9 · seed {number}",
        "values": {"objective": "KTO", "TAU": 9.0, "RANDOM_SEED": number},
        "seed_axis": "RANDOM_SEED", "folder": f"policies/0{number}", "tries": 1,
    }  # fmt: skip
    return SweptTrial(number, **given | fields)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    """Its folder and results: three objectives, and trials that came to nothing."""
    folder = tmp_path_factory.mktemp("home") / "sweep"
    settings = [{"objective": "NLL"}]
    settings += settings_of(["KTO", "DRO-V"], TAU=[0.03, 0.1, 1.0])
    results = made_sweep(folder, settings, of)
    trials = [
        dataclasses.replace(x, unused=("TAU",))
        if x.values.get("objective") == "NLL"
        else x
        for x in results.trials
    ]
    secret = "Please write to my old neighbour"
    trials += [
        more(
            sweep, number=1, state="failed", tries=2,
            reason=f"{folder}/data/log.jsonl line 7: '{secret}' is no number",
        ),
        more(sweep, number=2, state="pruned", reason="eval/loss 3.1 at step 20"),
        more(sweep, number=3, state="waiting", tries=0),
        more(sweep, number=4, state="running"),
        more(sweep, number=5, state="complete"),
    ]  # fmt: skip
    shutil.rmtree(folder / trials[-1].folder, ignore_errors=True)
    results = dataclasses.replace(results, trials=tuple(trials))
    results.write(folder)
    return folder, results


@pytest.fixture(scope="session")
def swept(sweep, tmp_path_factory):
    """The folder of its report."""
    folder, results = sweep
    output = tmp_path_factory.mktemp("swept report")
    write_sweep_report(results, folder, output, max_samples=3)
    return output
