"""The command line of `dro-jax`: its commands and their flags."""

import argparse

import dro_jax

_DESCRIPTION = """\
Align T5 models from logged single-trajectory feedback.

T5X's flags work: --gin_file=FILE (repeatable), --gin.NAME=VALUE,
--gin_search_paths=DIR,DIR. VALUE is as in gin; where a setting is text, quotes may be
left out: --gin.MODEL_DIR=/tmp/run. `dro-jax COMMAND --help` shows a command's own flags."""


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


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, without importing what the commands need."""
    parser = argparse.ArgumentParser(
        prog="dro-jax",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"dro-jax {dro_jax.__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_generate(commands)
    _add_score(commands)
    _add_tasks(commands)
    _add_convert(commands)
    _add_quickstart(commands)
    _add_benchmark(commands)
    _add_certify(commands)
    _command(
        commands,
        "settings",
        "settings_command",
        "print a table of all settings of the gin files, with defaults and meanings",
        gin=False,
    )
    _command(
        commands,
        "env",
        "env_command",
        "print versions and devices, for a bug report",
        gin=False,
    )
    return parser


def _command(commands, name: str, module: str, summary: str, *, gin: bool):
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
    return parser


def _add_train(commands) -> None:
    parser = _command(
        commands, "train", "train_command", "train from gin files, or resume", gin=True
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the run that MODEL_DIR holds, and start anew",
    )
    parser.add_argument(
        "--allow_change",
        action="append",
        default=[],
        metavar="NAME,NAME",
        help="settings that the run in MODEL_DIR goes on with, changed: learning rates "
        "and schedule, periods, TRAIN_STEPS; may be repeated",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="print configuration, sizes and what would be done; train and write nothing",
    )


def _add_model_arguments(parser, reads: str, writes: str) -> None:
    parser.add_argument(
        "--model_dir",
        required=True,
        help="a folder made by `dro-jax train`; its config.gin says how to rebuild it",
    )
    parser.add_argument("--step", type=int, help="which checkpoint; default the newest")
    parser.add_argument("--input", required=True, metavar="FILE", help=reads)
    parser.add_argument("--output", required=True, metavar="FILE", help=writes)
    parser.add_argument(
        "--rename_field",
        action="append",
        default=[],
        metavar="NAME=OTHER",
        help="another name for a field that is added; records that have one of its "
        "name are refused. May be repeated",
    )
    parser.add_argument("--batch_size", type=int, default=32, help="rows at a time")


def _add_generate(commands) -> None:
    parser = _command(
        commands,
        "generate",
        "generate_command",
        "generate responses to prompts",
        gin=True,
    )
    _add_model_arguments(
        parser,
        "records with the task's prompt field: JSONL, a JSON array, CSV, TSV, Parquet or "
        "Arrow, plain or compressed; - is standard input",
        "JSONL: the same records with `responses`, each with its summed `logprob`",
    )
    parser.add_argument("--num_samples", type=int, default=1, help="for each prompt")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="0 decodes greedily"
    )
    parser.add_argument("--top_k", type=int, default=0, help="0: no limit")
    parser.add_argument("--top_p", type=float, default=0.0, help="0: no limit")
    parser.add_argument(
        "--beams", type=int, default=0, help="width of a beam search; default none"
    )
    parser.add_argument("--alpha", type=float, default=0.6, help="brevity penalty")
    parser.add_argument(
        "--max_decode_length", type=int, help="default: the task's response length"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")


def _add_score(commands) -> None:
    parser = _command(
        commands,
        "score",
        "score_command",
        "score logged responses under a trained policy",
        gin=True,
    )
    _add_model_arguments(
        parser,
        "records with the task's prompt and response fields: JSONL, a JSON array, CSV, "
        "TSV, Parquet or Arrow, plain or compressed; - is standard input",
        "JSONL: the same records with `logprob` (summed over tokens, nats) and, where "
        "the model has one, `value`",
    )


def _add_tasks(commands) -> None:
    parser = _command(
        commands, "tasks", "tasks_command", "list or inspect feedback tasks", gin=True
    )
    parser.add_argument("action", choices=("list", "inspect"))
    parser.add_argument(
        "name",
        nargs="?",
        help="the task to inspect, or a file, folder or glob of feedback, whose layout "
        "and fields are guessed from its first records",
    )
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        help="a Python module that registers tasks; may be repeated",
    )
    parser.add_argument("--split", default="train", help="which split")
    parser.add_argument("--input_length", type=int, help="prompt length in tokens")
    parser.add_argument("--target_length", type=int, help="response length in tokens")
    parser.add_argument("--examples", type=int, default=3, help="how many to show")
    parser.add_argument("--json", metavar="FILE", help="also write the report as JSON")
    parser.add_argument("--png", metavar="FILE", help="also draw the reward histogram")
    _add_file_arguments(parser)


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


def _add_convert(commands) -> None:
    parser = _command(
        commands,
        "convert",
        "convert_command",
        "convert a model between the formats of T5X, Hugging Face and dro-jax",
        gin=False,
    )
    parser.add_argument(
        "source",
        help="a model folder, one checkpoint_N in it, a T5X checkpoint or its URL, a "
        "Hugging Face folder or a name on its hub; the format is recognised",
    )
    parser.add_argument("destination", help="a folder that is new or empty")
    parser.add_argument(
        "--to", required=True, choices=("t5x", "t5x-legacy", "hf", "dro-jax")
    )
    parser.add_argument("--step", type=int, help="which checkpoint; default the newest")
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="for --to hf: a SentencePiece model, or 'byte'; default, the source's",
    )
    parser.add_argument(
        "--scan_layers",
        action=argparse.BooleanOptionalAction,
        help="whether layers are stacked, as scalable_t5's; default, as the source's",
    )


def _add_quickstart(commands) -> None:
    parser = _command(
        commands,
        "quickstart",
        "quickstart_command",
        "align a small T5 with DRO-V on the support-desk data, in minutes, on a CPU",
        gin=False,
    )
    parser.add_argument(
        "--output_dir", required=True, help="for both models and the report"
    )
    parser.add_argument(
        "--steps", type=int, help="of each of the two runs; default their gin files'"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")


def _add_benchmark(commands) -> None:
    parser = _command(
        commands,
        "benchmark",
        "benchmark_command",
        "measure packing, the reference cache, chunked log-probs and saves in the "
        "background, each against the plain way in the same run",
        gin=False,
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures as JSON")
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each ratio"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=(
            "packing",
            "reference_cache",
            "logprob",
            "async_save",
            "logratio_noise",
        ),
        help="measure just this; may be repeated",
    )


def _add_certify(commands) -> None:
    parser = _command(
        commands,
        "certify",
        "certify_command",
        "train every objective in exact expectation on a finite response space, and "
        "measure it against the closed-form optimum",
        gin=False,
    )
    parser.add_argument(
        "--output_dir", required=True, help="for certificate.md, .json and .png"
    )
    parser.add_argument(
        "--form",
        choices=("table", "t5", "both"),
        default="both",
        help="the policy: a table of logits, a small T5, or one after the other",
    )
    parser.add_argument(
        "--objectives", metavar="A,B", help="names such as DROV,KTO; default all"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    parser.add_argument(
        "--steps", type=int, help="of each training; default the form's own"
    )
