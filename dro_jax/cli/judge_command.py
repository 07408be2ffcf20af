"""`dro-jax judge sheet`, `judge read` and `judge template`: what people judge by."""

import itertools
import pathlib
import random

from dro_jax.cli import outputs
from dro_jax.cli.judge_report import as_json, as_text, results_of
from dro_jax.cli.responses_of_runs import Responses, responses_of
from dro_jax.errors import ConfigError
from dro_jax.evaluation.win_rates import matched
from dro_jax.judges import sheets
from dro_jax.judges.blinding import Contest, Key, blinded
from dro_jax.judges.question import SHIPPED
from dro_jax.judges.sheet_answers import read_sheets, summary
from dro_jax.messages import note
from dro_jax.paths import expanded, make_folder
from dro_jax.plurals import counted
from dro_jax.whole_files import write_whole

TABLE, PAGE, KEY = "sheet.csv", "sheet.html", "key.json"


def run(arguments) -> None:
    """Make a sheet, read some back, or print the question to a model."""
    {"sheet": _sheet, "read": _read, "template": _template}[arguments.action](arguments)


def _template(arguments) -> None:
    text = SHIPPED.read_text("utf-8")
    if arguments.output is None:
        print(text, end="")
    else:
        arguments.output.write_text(text.rstrip("\n"))


def _sheet(arguments) -> None:
    if arguments.prompts is not None and arguments.prompts < 1:
        raise ConfigError(f"--prompts {arguments.prompts}: give 1 or more")
    folder = outputs.check_folder("--output", arguments.sheet_dir)
    runs = responses_of(arguments.runs, arguments.evaluation, arguments.prompt_field)
    key = blinded(_contests(runs, arguments.prompts, arguments.seed), arguments.seed)
    if not key.shown:
        raise ConfigError(
            "all responses of the runs are equal: there is nothing to compare"
        )
    _check_is_free(folder / KEY, key)
    make_folder(folder)
    # The key first: a sheet without one can never be read.
    key.write(folder / KEY)
    _write(folder / TABLE, sheets.table(key).encode("utf-8-sig"))
    _write(folder / PAGE, sheets.page(key).encode())
    _tell(folder, key)


def _contests(
    runs: dict[str, Responses], prompts: int | None, seed: int
) -> list[Contest]:
    """Every two runs on every prompt that all have answered, or on some of these."""
    shared = set.intersection(*({x.prompt_id for x in own} for own in runs.values()))
    order = dict.fromkeys(x.prompt_id for own in runs.values() for x in own)
    chosen = [prompt for prompt in order if prompt in shared]
    if prompts is not None and prompts < len(chosen):
        chosen = random.Random(seed).sample(chosen, prompts)
    wanted = set(chosen)
    some = {
        label: [x for x in own if x.prompt_id in wanted] for label, own in runs.items()
    }
    found = []
    for first, second in itertools.combinations(some, 2):
        both = matched(some[first], some[second])
        found += [
            Contest(first, second, prompt_id, pair)
            for prompt_id, pair in zip(both.prompt_ids, both.pairs, strict=True)
        ]
    return found


def _check_is_free(path: pathlib.Path, key: Key) -> None:
    if path.exists() and Key.read(path).sheet != key.sheet:
        raise ConfigError(
            f"{path} is the key of another sheet, which could not be read any more: "
            "give another --output"
        )


def _write(path: pathlib.Path, content: bytes) -> None:
    write_whole(path, lambda file: file.write(content))


def _tell(folder: pathlib.Path, key: Key) -> None:
    print(f"sheet {key.sheet}: {counted(len(key.shown), 'pair')}")
    if equal := len(key.pairs) - len(key.shown):
        print(
            f"{counted(equal, 'pair')} of equal responses count as ties, and are not shown"
        )
    print(f"for raters, one or the other: {folder / PAGE}, {folder / TABLE}")
    print(f"not for raters: {folder / KEY} says whose responses are whose")
    if cut := sheets.too_long(key):
        note(
            f"spreadsheets cut texts of over {sheets.LONGEST_CELL:,} characters, which "
            f"{counted(len(cut), 'pair')} have: use the page"
        )


def _read(arguments) -> None:
    paths = [pathlib.Path(expanded(path)) for path in arguments.sheets]
    key = Key.read(pathlib.Path(expanded(arguments.key)))
    answers = read_sheets(paths, key)
    for line in summary(answers.problems):
        note(line)
    results = results_of(key, answers)
    print(as_text(results))
    if arguments.output is not None:
        arguments.output.write_json(as_json(results))
        print(f"written: {arguments.output.name}")
