"""One report of invented runs, written once for all tests of pages."""

import dataclasses

import evaluated_runs
import pytest

from dro_jax.cli.run_settings_compared import with_differences
from dro_jax.reporting.report import write_report
from dro_jax.reporting.reported_run import ReportedRun

# What a model may say to break a page, or to have it say something else.
HOSTILE = (
    '</script><script>document.title = "taken"</script><img src=x onerror=alert(1)> '
    "<!-- & ]]> \u2028 \x00 \x1b \u202e \ud800 =1+1"
)


def hostile(run):
    """The same run, of which the first response is none of a friend's."""
    first, *rest = run.responses
    first = dataclasses.replace(
        first, response=HOSTILE, prompt=f"{HOSTILE} {first.prompt}"
    )
    return dataclasses.replace(run, responses=(first, *rest))


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """Four runs with folders of their own, and a row without one."""
    home = tmp_path_factory.mktemp("home")
    rates = evaluated_runs.win_rates(list(evaluated_runs.POLICIES))
    runs = []
    for number, label in enumerate(evaluated_runs.POLICIES):
        folder = home / label
        evaluated_runs.write_run(folder, tau=1.0 + number, seed=number)
        evaluation = hostile(evaluated_runs.evaluated(label))
        own = [rate for rate in rates if rate.first == label]
        runs.append(ReportedRun.of_folder(folder, evaluation, own))
    logged = evaluated_runs.without_policy(evaluated_runs.evaluated("logged data"))
    return [*with_differences(runs), ReportedRun(logged, is_policy=False)]


@pytest.fixture(scope="session")
def written(reported, tmp_path_factory):
    """The folder of their report."""
    folder = tmp_path_factory.mktemp("report")
    write_report(reported, folder)
    return folder
