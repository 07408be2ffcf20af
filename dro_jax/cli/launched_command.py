"""What stands behind the `--` of `dro-jax launch`, as a job."""

from collections.abc import Sequence

from dro_jax.cli import launched_ours, launched_t5x
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.launched_paths import job_name
from dro_jax.errors import ConfigError
from dro_jax.launching.common import Common
from dro_jax.launching.interface import Job

COMMANDS = (*launched_ours.COMMANDS, *launched_t5x.PROGRAMS)


def job_of(
    words: Sequence[str],
    *,
    name: str | None,
    common: Common,
    elsewhere: Sequence[str],
    dry_run: bool,
) -> tuple[Job, Configuration | None]:
    """A job, checked as far as can be without its task.

    Args:
      words: the command and its flags, as typed.
      name: of the job; None takes the last part of the run's folder.
      common: settings of all targets.
      elsewhere: folders that the hosts see and this machine need not.
      dry_run: write nothing.

    Returns:
      The job, and the configuration of a run that is trained or of T5X's.

    Raises:
      ConfigError, CheckpointError: there is no such command, or it would refuse this.
    """
    if not words:
        raise ConfigError(
            "nothing is launched: behind the target's flags write -- COMMAND [its "
            f"flags]; COMMAND is one of {', '.join(COMMANDS)}"
        )
    command, *flags = words
    if command in launched_ours.COMMANDS:
        fields, configuration = launched_ours.checked(
            command, flags, elsewhere=elsewhere, dry_run=dry_run
        )
    elif command in launched_t5x.PROGRAMS:
        fields, configuration = launched_t5x.checked(
            command, flags, common, elsewhere=elsewhere
        )
    else:
        raise ConfigError(
            f"{command} is no command that can be launched: {', '.join(COMMANDS)} are"
        )
    job = Job(name=name or job_name(fields["model_dir"], command), **fields)
    return job, configuration
