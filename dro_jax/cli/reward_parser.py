"""The flags of `dro-jax reward`."""

from dro_jax.cli.command_parser import add_rename_field, command


def add_reward(commands) -> None:
    """Adds the command."""
    parser = command(
        commands,
        "reward",
        "reward_command",
        "score the responses of a file with rewards, as to label a log",
        gin=True,
        data=False,
    )
    parser.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="records with a prompt and a response, or with `responses` as `dro-jax "
        "generate` writes them: JSONL, a JSON array, CSV, TSV, Parquet or Arrow, plain or "
        "compressed; - is standard input",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="JSONL: the same records with `reward`, and by name all `rewards` and "
        "`reward_parts`",
    )
    parser.add_argument(
        "--prompt_field", default="prompt", metavar="NAME", help="of the records"
    )
    parser.add_argument(
        "--response_field", default="response", metavar="NAME", help="of the records"
    )
    add_rename_field(parser)
