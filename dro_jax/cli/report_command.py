"""`dro-jax report`: evaluated runs, or a sweep of them, as one page."""

import argparse
import pathlib
from collections.abc import Sequence

from dro_jax.cli.evaluate_parser import add_evaluation
from dro_jax.cli.runs_to_report import reported_runs
from dro_jax.errors import ConfigError
from dro_jax.evaluation.shared_evaluation import shared_folders
from dro_jax.paths import make_folder
from dro_jax.plurals import counted
from dro_jax.reporting.report import write_report
from dro_jax.reporting.sweep_results import RESULTS, SweepResults
from dro_jax.reporting.swept.report import write_sweep_report
from dro_jax.training.run_files import CONFIG


def run(arguments) -> None:
    """Evaluate the runs where that is asked for, and write the page.

    Raises:
      DataError: they are not evaluated, or a file is damaged.
      ConfigError: a flag has no effect.
    """
    if swept := _sweep(arguments):
        return _run_of_sweep(arguments, swept)
    _check_of_runs(arguments)
    folders = _folders(arguments.runs)
    output = make_folder(arguments.output_dir, "--output")
    name = _evaluated(arguments) or arguments.evaluation
    name = shared_folders(folders, name)[0].name
    found = reported_runs(folders, name)
    given = {} if arguments.samples is None else {"max_samples": arguments.samples}
    page = write_report(found, output, title=arguments.title, **given)
    print(f"{counted(len(found), 'row')} of the evaluation {name}")
    print(f"written: {page}, with report.json, tables/ and figures/ beside")


def _sweep(arguments) -> pathlib.Path | None:
    """The sweep's folder that was given; None where runs were.

    Raises:
      ConfigError: other folders beside it, or a flag that is of runs.
    """
    given = [pathlib.Path(name) for name in arguments.runs]
    sweeps = [folder for folder in given if (folder / RESULTS).is_file()]
    if not sweeps:
        return None
    if len(given) > 1:
        raise ConfigError(
            f"{sweeps[0]} is a sweep, which has a page of its own: give it alone"
        )
    if arguments.task is not None:
        raise ConfigError(
            "--task evaluates runs, and those of a sweep are evaluated by `dro-jax "
            "sweep`: remove it"
        )
    return sweeps[0]


def _run_of_sweep(arguments, folder: pathlib.Path) -> None:
    results = SweepResults.read(folder)
    _evaluated(arguments)
    output = make_folder(arguments.output_dir, "--output")
    given = {} if arguments.samples is None else {"max_samples": arguments.samples}
    if arguments.choose_by is not None:
        given["chooses"] = arguments.choose_by
    page = write_sweep_report(
        results,
        folder,
        output,
        title=arguments.title,
        evaluation=arguments.evaluation,
        **given,
    )
    print(f"{counted(len(results.trials), 'trial')} of the sweep {results.name}")
    print(f"written: {page}, with report.json, tables/ and figures/ beside")


def _check_of_runs(arguments) -> None:
    if arguments.choose_by is not None:
        raise ConfigError(
            "--choose_by is of a sweep, whose settings are chosen; of runs all are shown: "
            "remove it"
        )


def _evaluated(arguments) -> str | None:
    """The name of the evaluation that `--task` asks for, made where it is not there."""
    if arguments.task is None:
        unlike = _says_how_to_evaluate(arguments)
        if arguments.gin_file or arguments.gin_bindings or unlike:
            raise ConfigError(
                "gin files and flags of an evaluation have no effect on what is evaluated "
                "already: remove them, or give --task NAME to evaluate first"
            )
        return None
    if arguments.evaluation is not None:
        raise ConfigError(
            "--evaluation shows what there is, and --task evaluates: give one of them"
        )
    # Reading data and models takes JAX, and showing what there is does not.
    from dro_jax.cli.evaluate_command import evaluate

    return evaluate(arguments).name


def _says_how_to_evaluate(arguments) -> bool:
    """Whether a flag of an evaluation was given another value than it has by itself."""
    parser = argparse.ArgumentParser()
    add_evaluation(parser, "")
    defaults = vars(parser.parse_args([]))
    return any(getattr(arguments, name) != x for name, x in defaults.items())


def _folders(given: Sequence[str]) -> list[pathlib.Path]:
    folders = [pathlib.Path(name) for name in given]
    for folder in folders:
        if not (folder / CONFIG).is_file():
            raise ConfigError(
                f"{folder} is no folder of `dro-jax train`: it has no {CONFIG}"
            )
    real = [folder.resolve() for folder in folders]
    return [folder for n, folder in enumerate(folders) if real[n] not in real[:n]]
