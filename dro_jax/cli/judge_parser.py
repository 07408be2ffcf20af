"""The flags of `dro-jax judge`."""

from dro_jax.cli.command_parser import command

_MODULE = "judge_command"


def add_judge(commands) -> None:
    """Adds the command, with its actions."""
    summary = "let people compare runs on blinded sheets; print the question to a model"
    parser = commands.add_parser(
        "judge",
        help=summary,
        description=summary[0].upper() + summary[1:] + ". Rewards and language models "
        "judge under `dro-jax evaluate` (docs/judges.md).",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_sheet(actions)
    _add_read(actions)
    template = command(
        actions,
        "template",
        _MODULE,
        "print the question that a language model is asked, to be edited",
        gin=False,
    )
    template.add_argument("--output", metavar="FILE", help="write it there instead")


def _add_sheet(actions) -> None:
    parser = command(
        actions,
        "sheet",
        _MODULE,
        "make a blinded sheet, as CSV and as a page that works offline, and its key",
        gin=False,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="two or more: folders that `dro-jax evaluate` has evaluated together (of "
        "a reference also RUN/evaluations/NAME/reference), or files of `dro-jax "
        "generate` from the same prompts",
    )
    parser.add_argument(
        "--output",
        dest="sheet_dir",
        required=True,
        metavar="DIR",
        help="for sheet.csv, sheet.html and key.json; the key says whose responses are "
        "whose: keep it from the raters",
    )
    parser.add_argument(
        "--prompts", type=int, metavar="N", help="so many, drawn by --seed; default all"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the order and of the sides"
    )
    parser.add_argument(
        "--evaluation",
        metavar="NAME",
        help="which of the folders in RUN/evaluations; default, the newest that all "
        "runs have",
    )
    parser.add_argument(
        "--prompt_field",
        default="prompt",
        metavar="NAME",
        help="of files: the field of the prompt",
    )


def _add_read(actions) -> None:
    parser = command(
        actions,
        "read",
        _MODULE,
        "read filled sheets back: win rates, and how far raters agree",
        gin=False,
    )
    parser.add_argument(
        "sheets",
        nargs="+",
        metavar="SHEET",
        help="CSV, or JSON that the page saved; several of several raters",
    )
    parser.add_argument(
        "--key", required=True, metavar="FILE", help="the sheet's key.json"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="also write everything as JSON"
    )
