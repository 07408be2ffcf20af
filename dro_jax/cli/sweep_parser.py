"""The flags of `dro-jax sweep`."""

import argparse
import os

from dro_jax.cli.command_parser import command
from dro_jax.cli.sweep_workers import STORAGE_VARIABLE, Place


def add_sweep(commands) -> None:
    """Adds the command."""
    parser = command(
        commands,
        "sweep",
        "sweep_command",
        "run objectives, settings and seeds side by side, and compare them",
        gin=True,
    )
    parser.add_argument(
        "--output_dir",
        required=True,
        metavar="DIR",
        help="the sweep's folder: its runs, what they share, and the report; the same "
        "command goes on there",
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        default=os.environ.get(STORAGE_VARIABLE),
        help="where trials are kept, for several machines: postgresql://…; default "
        f"${STORAGE_VARIABLE}, or else sweep.sqlite3 in the folder",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes of this machine that share the trials, its cores and its GPUs",
    )
    # What a worker of these is told.
    parser.add_argument("--worker", type=Place.of, help=argparse.SUPPRESS)
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="on a terminal too, no table: a line for each trial that ends",
    )
    parser.add_argument(
        "--retry_failed",
        action="store_true",
        help="run trials that failed once more, where what they lacked is there now",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="a quick variant: beside each --gin_file NAME.gin, NAME_fast.gin is read too",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="print the trials, what they share and what has no effect on them; run and "
        "write nothing",
    )
