"""`dro-jax launch`: a command of ours or of T5X on many hosts."""

import os
import re
import shlex

from dro_jax.cli import gin_setup, launch_parser
from dro_jax.cli.launch_checks import checks_of, run_checks
from dro_jax.cli.launched_command import job_of
from dro_jax.errors import ConfigError
from dro_jax.exit_codes import DONE
from dro_jax.launching import files
from dro_jax.launching.interface import Job, Target
from dro_jax.messages import say
from dro_jax.paths import expanded, is_url

_THIS_MACHINE = "local"
_NAME = re.compile("[a-z]([a-z0-9-]{0,38}[a-z0-9])?")


def run(arguments) -> int:
    """Check, then show or launch; the status is that of the launch."""
    target, common = _settings(arguments)
    job, configuration = job_of(
        arguments.launched,
        name=_checked_name(arguments.name),
        common=common,
        elsewhere=target.mounts,
        dry_run=arguments.dry_run,
    )
    folder = expanded(arguments.launch_dir or f"launched/{job.name}")
    if is_url(folder):
        raise ConfigError(
            f"--launch_dir {folder}: logs and scripts need a local folder"
        )
    folder = os.path.abspath(folder)
    if "\n" in folder:
        raise ConfigError(
            f"--launch_dir {folder!r}: scripts name it, and a name of several lines would "
            "be commands there"
        )
    prepared = target.prepare(job, folder)
    checks = checks_of(job, configuration, target.topology)
    # Processes of this machine look for the task themselves, as soon.
    if arguments.no_plan or arguments.target == _THIS_MACHINE:
        checks = []
    if arguments.dry_run:
        for words in checks:
            print(f"{shlex.join(words)}  # first, unless --no_plan is given")
        print(files.text_of(prepared, folder), end="")
        return DONE.number
    run_checks(checks)
    return _launched(target, job, prepared, folder)


def _launched(target: Target, job: Job, prepared, folder: str) -> int:
    files.write(prepared, folder)
    for note in prepared.notes:
        say(f"note: {note}")
    say(f"{job.name}: files and logs are in {folder}")
    return target.launch(job, prepared, folder)


def _settings(arguments):
    """The target, and what all targets share, made from gin."""
    given = [*arguments.gin_bindings, *launch_parser.settings(arguments)]
    gin_setup.parse(
        [*launch_parser.target_files(arguments.target), *arguments.gin_file],
        given,
        arguments.gin_search_paths,
        arguments.allow_import,
    )
    return gin_setup.macro("TARGET"), gin_setup.macro("COMMON")


def _checked_name(name: str | None) -> str | None:
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name}: a job's name has up to 40 lower-case letters, digits and "
            "hyphens, and begins with a letter"
        )
    return name
