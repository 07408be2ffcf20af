"""The flags of `dro-jax report`."""

from dro_jax.cli.command_parser import command
from dro_jax.cli.evaluate_parser import add_evaluation


def add_report(commands) -> None:
    """Adds the command."""
    parser = command(
        commands,
        "report",
        "report_command",
        "show evaluated runs side by side, or a sweep, as one HTML page with its numbers "
        "beside",
        gin=True,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a folder made by `dro-jax train`; or, alone, one made by `dro-jax sweep`",
    )
    parser.add_argument(
        "--output",
        "--output_dir",
        required=True,
        metavar="DIR",
        dest="output_dir",
        help="for report.html, report.json, tables/ and figures/",
    )
    parser.add_argument(
        "--evaluation",
        metavar="NAME",
        help="which of RUN/evaluations/; default, the newest that all runs have",
    )
    parser.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="prompts of which responses are shown, by default a hundred; 0: no text of "
        "prompts or responses, in any file",
    )
    parser.add_argument(
        "--choose_by",
        metavar="FIGURE",
        help="of a sweep: by which figure, on one half of the prompts, the best settings "
        "are chosen: reward, reward/NAME or win_rate/JUDGE; default, reward",
    )
    parser.add_argument("--title", help="of the page; default, from the task")
    add_evaluation(
        parser.add_argument_group(
            "evaluating first", "As `dro-jax evaluate` does, which has more to say."
        ),
        "evaluate the runs first, by this task's prompts; what was sampled before is not "
        "sampled again. Default: show what there is",
    )
