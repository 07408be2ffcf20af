"""The flags of `dro-jax evaluate`."""

from dro_jax.cli.command_parser import add_processes, add_split_of_task, command
from dro_jax.cli.sampling_flags import add_sampling


def add_evaluate(commands) -> None:
    """Adds the command."""
    parser = command(
        commands,
        "evaluate",
        "evaluate_command",
        "compare trained policies: sample responses, score them, and count who wins",
        gin=True,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a folder made by `dro-jax train`"
    )
    add_evaluation(
        parser,
        "whose prompts are asked; default, the task that all runs were trained on",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="all figures and win rates as JSON"
    )
    parser.add_argument(
        "--report",
        metavar="DIR",
        dest="report_dir",
        help="also write the page that `dro-jax report` makes of these runs",
    )
    add_processes(parser)


def add_evaluation(parser, task: str) -> None:
    """The flags that say how runs are evaluated.

    Args:
      parser: the command's.
      task: what is said of `--task`.
    """
    add_split_of_task(parser, task)
    parser.add_argument(
        "--num_prompts", type=int, help="the first so many different ones; default all"
    )
    add_sampling(parser)
    parser.add_argument(
        "--step", type=int, help="which checkpoint of the runs; default the newest"
    )
    parser.add_argument(
        "--reference",
        metavar="DIR",
        help="what all are compared with: a folder of `dro-jax train`, or a checkpoint "
        "of the runs' network; default, what each run started from",
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        default=32,
        help="prompts at a time, on all devices together",
    )
