"""The flags of `dro-jax calibrate`."""

from dro_jax.cli.command_parser import add_split_of_task, command


def add_calibrate(commands) -> None:
    """Adds the command."""
    parser = command(
        commands,
        "calibrate",
        "calibrate_command",
        "compare a reward's scores with the feedback that a split holds",
        gin=True,
    )
    add_split_of_task(
        parser,
        "whose records are scored; default, MIXTURE_OR_TASK_NAME of the gin files",
    )
    parser.add_argument(
        "--num_records", type=int, metavar="N", help="the first so many; default all"
    )
    parser.add_argument(
        "--output_dir", required=True, help="for calibration.json and calibration.png"
    )
