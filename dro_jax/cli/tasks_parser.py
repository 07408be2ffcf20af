"""The flags of `dro-jax tasks`."""

from dro_jax.cli.command_parser import add_module, command


def add_tasks(commands) -> None:
    """Adds the command."""
    parser = command(
        commands,
        "tasks",
        "tasks_command",
        "list or inspect feedback tasks, or prepare their records for runs",
        gin=True,
    )
    parser.add_argument("action", choices=("list", "inspect", "prepare"))
    parser.add_argument(
        "name",
        nargs="?",
        help="the task (for `prepare`, or mixture); for `inspect` also a file, folder "
        "or glob of feedback, whose layout and fields are guessed from its first records",
    )
    add_module(parser)
    parser.add_argument(
        "--split",
        metavar="NAME",
        help="which split: default train; `prepare` takes several, separated by commas, "
        "and by default all",
    )
    parser.add_argument("--input_length", type=int, help="prompt length in tokens")
    parser.add_argument("--target_length", type=int, help="response length in tokens")
    parser.add_argument("--examples", type=int, default=3, help="how many to show")
    parser.add_argument("--json", metavar="FILE", help="also write the report as JSON")
    parser.add_argument("--png", metavar="FILE", help="also draw the reward histogram")
    _add_file_arguments(parser)
    _add_prepare_arguments(parser)


def _add_prepare_arguments(parser) -> None:
    parser.add_argument(
        "--workers", type=int, default=1, help="prepare: processes that share the work"
    )
    parser.add_argument(
        "--runner",
        metavar="NAME",
        help="prepare: as an Apache Beam pipeline on this runner, DirectRunner, "
        "DataflowRunner, FlinkRunner, SparkRunner …; flags that are not of this command "
        "are Beam's, as --project=NAME",
    )


def _add_file_arguments(parser) -> None:
    """What is known of a file that is inspected, in place of a guess."""
    parser.add_argument(
        "--layout", help="of a file: 'pairs', 'hh_rlhf', … (docs/tasks.md)"
    )
    for role in ("prompt", "response", "reward"):
        parser.add_argument(
            f"--{role}_field",
            metavar="NAME",
            help=f"of a file: the field of the {role}",
        )
    parser.add_argument(
        "--reward_kind", choices=("float", "thumbs"), help="of a file: default, guessed"
    )
    parser.add_argument(
        "--vocabulary",
        default="byte",
        metavar="FILE",
        help="for a file: a SentencePiece model; default bytes",
    )
    parser.add_argument(
        "--extra_ids", type=int, default=0, help="for a file: 100 for T5's vocabulary"
    )
    parser.add_argument(
        "--keep_whitespace",
        action="store_true",
        help="for a file: line breaks, tabs and runs of spaces are tokens",
    )


def take_rest(arguments, rest: list[str]) -> list[str]:
    """Takes what the command knows of what argparse has left over; returns the rest.

    A name that stands behind flags, and the flags of a runner, which are Apache Beam's.
    """
    if arguments.command != "tasks":
        return rest
    if arguments.name is None:
        before = ["", *rest]
        for i, value in enumerate(rest):
            is_value = before[i].startswith("-") and "=" not in before[i]
            if not value.startswith("-") and not is_value:
                arguments.name = value
                rest = rest[:i] + rest[i + 1 :]
                break
    if not arguments.runner:
        return rest
    arguments.runner_flags = [flag for flag in rest if not flag.startswith("--gin.")]
    return [flag for flag in rest if flag.startswith("--gin.")]
