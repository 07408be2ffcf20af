"""The command line of `dro-jax`: its commands and their flags."""

import argparse

import dro_jax
from dro_jax.cli.calibrate_parser import add_calibrate
from dro_jax.cli.command_parser import add_processes, add_rename_field, command
from dro_jax.cli.evaluate_parser import add_evaluate
from dro_jax.cli.judge_parser import add_judge
from dro_jax.cli.launch_parser import add_launch
from dro_jax.cli.plan_parser import add_plan
from dro_jax.cli.report_parser import add_report
from dro_jax.cli.reward_parser import add_reward
from dro_jax.cli.sampling_flags import add_sampling
from dro_jax.cli.sweep_parser import add_sweep
from dro_jax.cli.tasks_parser import add_tasks

_DESCRIPTION = """\
Align T5 models from logged single-trajectory feedback.

T5X's flags work: --gin_file=FILE (repeatable), --gin.NAME=VALUE,
--gin_search_paths=DIR,DIR. VALUE is as in gin; where a setting is text, quotes may be
left out: --gin.MODEL_DIR=/tmp/run. `dro-jax COMMAND --help` shows a command's own flags."""


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
    add_launch(commands)
    add_plan(commands)
    _add_generate(commands)
    _add_score(commands)
    add_reward(commands)
    add_evaluate(commands)
    add_sweep(commands)
    add_report(commands)
    add_judge(commands)
    add_calibrate(commands)
    add_tasks(commands)
    _add_convert(commands)
    _add_quickstart(commands)
    _add_benchmark(commands)
    _add_certify(commands)
    command(
        commands,
        "settings",
        "settings_command",
        "print a table of all settings of the gin files, with defaults and meanings",
        gin=False,
    )
    add_processes(
        command(
            commands,
            "env",
            "env_command",
            "print versions and devices, for a bug report",
            gin=False,
        )
    )
    return parser


def _add_train(commands) -> None:
    parser = command(
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
    parser.add_argument(
        "--reference_share",
        metavar="K/N",
        help="compute the K-th of N shares of the reference's log-probs into "
        "REFERENCE_CACHE_DIR, and train nothing",
    )
    add_processes(parser)


def _add_model_arguments(parser, reads: str, writes: str) -> None:
    parser.add_argument(
        "--model_dir",
        required=True,
        help="a folder made by `dro-jax train`; its config.gin says how to rebuild it",
    )
    parser.add_argument("--step", type=int, help="which checkpoint; default the newest")
    parser.add_argument("--input", required=True, metavar="FILE", help=reads)
    parser.add_argument("--output", required=True, metavar="FILE", help=writes)
    add_rename_field(parser)
    parser.add_argument(
        "--batch_size",
        type=int,
        default=32,
        help="rows at a time, on all devices together",
    )
    add_processes(parser)


def _add_generate(commands) -> None:
    parser = command(
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
    add_sampling(parser)
    parser.add_argument(
        "--beams", type=int, default=0, help="width of a beam search; default none"
    )
    parser.add_argument("--alpha", type=float, default=0.6, help="brevity penalty")


def _add_score(commands) -> None:
    parser = command(
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


def _add_convert(commands) -> None:
    parser = command(
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
    parser = command(
        commands,
        "quickstart",
        "quickstart_command",
        "align a small T5 with DRO-V on the support-desk data, in minutes, on a CPU",
        gin=False,
        compiles=True,
    )
    parser.add_argument(
        "--output_dir", required=True, help="for both models and the report"
    )
    parser.add_argument(
        "--steps", type=int, help="of each of the two runs; default their gin files'"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    add_processes(parser)


def _add_benchmark(commands) -> None:
    parser = command(
        commands,
        "benchmark",
        "benchmark_command",
        "measure a train step's share of the cores' peak; packing, the reference cache, "
        "chunked log-probs, saves in the background and decoding, each against the plain "
        "way in the same run; and reading data and starting",
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
            "step",
            "packing",
            "reference_cache",
            "logprob",
            "async_save",
            "logratio_noise",
            "decode",
            "data",
            "start",
        ),
        help="measure just this; may be repeated",
    )
    parser.add_argument(
        "--records",
        type=int,
        nargs="+",
        metavar="N",
        help="data: sizes of the splits that are made; default 20,000",
    )
    parser.add_argument(
        "--data_dir",
        metavar="DIR",
        help="data: keeps the records there for another time; default, a folder that is "
        "removed at the end",
    )


def _add_certify(commands) -> None:
    parser = command(
        commands,
        "certify",
        "certify_command",
        "train every objective in exact expectation on a finite response space, and "
        "measure it against the closed-form optimum",
        gin=False,
        compiles=True,
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
