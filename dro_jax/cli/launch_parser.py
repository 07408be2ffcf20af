"""The flags of `dro-jax launch`, and where the launched command begins."""

from collections.abc import Sequence

from dro_jax.cli.command_parser import command
from dro_jax.shipped_names import FOLDER

_COMMON = "common"
_END_OF_FLAGS = "--"
_PREFIX = "setting_"  # `num_processes` is this process's own of other commands
# Flags that stand for settings.
_SETTINGS = {
    "num_processes": "local: how many processes",
    "devices_per_process": "local: devices of each",
    "retries": "how often the command goes on after an end that is retried",
}


def targets() -> list[str]:
    """The places to run jobs: each has a gin file."""
    folder = FOLDER / "gin_configs/launch"
    return sorted(path.stem for path in folder.glob("*.gin") if path.stem != _COMMON)


def target_files(target: str) -> list[str]:
    """The gin files that are read for a target before all others."""
    return [f"dro_jax/gin_configs/launch/{name}.gin" for name in (_COMMON, target)]


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line's own words, and those of the command that it launches.

    Those behind the first `--` of `launch`; of any other command there are none.
    """
    if list(argv[:1]) != ["launch"] or _END_OF_FLAGS not in argv:
        return [*argv], []
    end = list(argv).index(_END_OF_FLAGS)
    return [*argv[:end]], [*argv[end + 1 :]]


def settings(arguments) -> list[str]:
    """The flags that stand for settings, as gin bindings."""
    values = ((name, getattr(arguments, _PREFIX + name)) for name in _SETTINGS)
    return [f"{name.upper()} = {value}" for name, value in values if value is not None]


def add_launch(commands) -> None:
    """Adds the command."""
    parser = command(
        commands,
        "launch",
        "launch_command",
        "run a command on many hosts: dro-jax launch TARGET [flags] -- COMMAND [its flags]",
        gin=True,
        data=False,
        compiles=False,
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        choices=targets(),
        help=f"where: {', '.join(targets())}; gin files and --gin.NAME=VALUE before the -- "
        "are its settings (docs/launch.md)",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="print all files and commands as they would be; write and run nothing",
    )
    parser.add_argument(
        "--no_plan",
        action="store_true",
        help="leave out what takes long: looking up the task, and asking `dro-jax plan` "
        "whether the run fits the slice",
    )
    parser.add_argument(
        "--name", help="of the job; default, the last part of its MODEL_DIR"
    )
    parser.add_argument(
        "--launch_dir",
        metavar="DIR",
        help="for logs, scripts and manifests; default launched/NAME",
    )
    for name, text in _SETTINGS.items():
        parser.add_argument(
            f"--{name}", type=int, metavar="N", help=text, dest=_PREFIX + name
        )
