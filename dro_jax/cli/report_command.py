"""`dro-jax report`: evaluated runs as one page."""

import pathlib
from collections.abc import Sequence

from dro_jax.cli.runs_to_report import reported_runs
from dro_jax.errors import ConfigError
from dro_jax.evaluation.shared_evaluation import shared_folders
from dro_jax.paths import make_folder
from dro_jax.reporting.report import write_report
from dro_jax.training.run_files import CONFIG


def run(arguments) -> None:
    """Read the evaluations and write the page."""
    folders = _folders(arguments.runs)
    name = shared_folders(folders, arguments.evaluation)[0].name
    output = make_folder(arguments.output_dir, "--output")
    found = reported_runs(folders, name)
    given = {} if arguments.samples is None else {"max_samples": arguments.samples}
    page = write_report(found, output, title=arguments.title, **given)
    print(f"{len(found)} rows of the evaluation {name}")
    print(f"written: {page}, with report.json, tables/ and figures/ beside")


def _folders(given: Sequence[str]) -> list[pathlib.Path]:
    folders = [pathlib.Path(name) for name in given]
    for folder in folders:
        if not (folder / CONFIG).is_file():
            raise ConfigError(
                f"{folder} is no folder of `dro-jax train`: it has no {CONFIG}"
            )
    real = [folder.resolve() for folder in folders]
    return [folder for n, folder in enumerate(folders) if real[n] not in real[:n]]
