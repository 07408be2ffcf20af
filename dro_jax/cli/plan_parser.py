"""Flags of `dro-jax plan`."""

from dro_jax.cli.command_parser import command


def add_plan(commands) -> None:
    """Adds `plan` to the commands."""
    parser = command(
        commands,
        "plan",
        "plan_command",
        "compile a run's train step for a slice, and print the memory and time it takes",
        gin=True,
        compiles=False,
    )
    parser.add_argument(
        "--topology",
        metavar="VERSION:CHIPS",
        help="a TPU slice, as v5e:4x4; default, the SLICE that the run file names or, "
        "where it names none, this machine's own devices",
    )
    parser.add_argument(
        "--each",
        metavar="FOLDER",
        help="plan every run file of a folder on the slice that it names, and print a "
        "table in Markdown",
    )
    parser.add_argument(
        "--plans",
        metavar="FOLDER",
        help="with --each: where plans are kept as JSON; those of unchanged files are "
        "not made again",
    )
    parser.add_argument(
        "--decode",
        action="store_true",
        help="plan what answering BATCH_SIZE prompts takes instead: encoding them, and each "
        "token's step",
    )
    parser.add_argument(
        "--num_samples",
        type=int,
        default=1,
        help="with --decode: responses to a prompt",
    )
    parser.add_argument(
        "--cache_dtype",
        choices=("float32", "bfloat16"),
        help="with --decode: of cached keys and values; default: the activations'",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write the plan as JSON; - is the output"
    )
    parser.add_argument(
        "--movers",
        type=int,
        metavar="N",
        help="also list the N lines of code that move the most bytes of a step to and "
        "from a device's memory",
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="where less than a tenth of the memory is left, try FSDP, rematerialisation, "
        "microbatches and model parallelism until it is",
    )
