"""What the parsers of all commands share."""

import argparse


class _WithDefaults(argparse.HelpFormatter):
    """Help that ends with the default, where the text does not say it itself."""

    def _get_help_string(self, action):
        text = action.help or ""
        says_it = "default" in text or text.startswith("0:")
        shown = isinstance(action.default, int | float | str) and not isinstance(
            action.default, bool
        )
        if says_it or not shown or action.default in ("", argparse.SUPPRESS):
            return text
        return f"{text} (default: %(default)s)"


def command(
    commands,
    name: str,
    module: str,
    summary: str,
    *,
    gin: bool,
    data: bool = True,
    compiles: bool | None = None,
):
    """A command's parser, with the flags of gin where it takes them, and of its data.

    Commands of gin compile programs unless they say that they do not.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        allow_abbrev=False,
        formatter_class=_WithDefaults,
    )
    parser.set_defaults(
        command_module=module, gin_file=[], gin_search_paths="", allow_import=[]
    )
    if gin:
        parser.add_argument(
            "--gin_file",
            action="append",
            metavar="FILE",
            help="a gin file; may be repeated, later files override earlier ones",
        )
        parser.add_argument(
            "--gin_search_paths",
            metavar="DIR,DIR",
            help="where gin files are looked for, beside the current folder and the "
            "files that dro-jax ships",
        )
        parser.add_argument(
            "--allow_import",
            action="append",
            metavar="NAME",
            help="a module or package that gin files may use beside those that every "
            "file may (docs/safety.md); may be repeated",
        )
    if gin if compiles is None else compiles:
        parser.add_argument(
            "--no_compilation_cache",
            action="store_true",
            help="compile anew what an earlier start compiled, and keep nothing of it "
            "(docs/performance.md)",
        )
    if gin and data:
        parser.add_argument(
            "--prepared_dir",
            metavar="DIR",
            help="where prepared records are kept, for all runs that read the same "
            "(docs/tasks.md); default $DRO_JAX_PREPARED_DIR, or else a folder among the "
            "user's caches",
        )
    return parser


def add_module(parser) -> None:
    """The flag of modules that register tasks."""
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        help="a Python module that registers tasks; may be repeated",
    )


def add_split_of_task(parser, task: str) -> None:
    """The flags of a split that a command reads; `task` is what is said of `--task`."""
    parser.add_argument("--task", metavar="NAME", help=task)
    add_module(parser)
    parser.add_argument("--split", default="validation", metavar="NAME", help="of it")


def add_rename_field(parser) -> None:
    """The flag of a command that adds fields to records."""
    parser.add_argument(
        "--rename_field",
        action="append",
        default=[],
        metavar="NAME=OTHER",
        help="another name for a field that is added; records that have one of its "
        "name are refused. May be repeated",
    )


def add_processes(parser) -> None:
    """The flags of a command that several processes may run as one; T5X's names too."""
    group = parser.add_argument_group(
        "several processes as one",
        "On a TPU slice, under SLURM (srun) and under mpirun they find one another; "
        "else each is told its place, by these flags or by DRO_JAX_COORDINATOR, "
        "DRO_JAX_NUM_PROCESSES and DRO_JAX_PROCESS_ID (docs/many_hosts.md).",
    )
    group.add_argument(
        "--coordinator",
        "--coordinator_address",
        metavar="HOST:PORT",
        help="where process 0 runs, and a port that is free there",
    )
    group.add_argument(
        "--num_processes", "--process_count", type=int, metavar="N", help="in all"
    )
    group.add_argument(
        "--process_id",
        "--process_index",
        type=int,
        metavar="I",
        help="this one's number, from 0",
    )
    group.add_argument(
        "--start_timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long to wait for the others; those that do not come are named",
    )
