"""What people said on sheets, read back and checked."""

import collections
import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dro_jax.errors import DataError
from dro_jax.judges.blinding import BlindedPair, Key
from dro_jax.judges.sheets import COLUMNS, as_read

_KIND = "dro-jax judge answers"
_DELIMITERS = ",;\t"
_ANSWERS = {"1": 1, "2": 2, "0": 0, "1.0": 1, "2.0": 2, "0.0": 0}
# Kinds of what is left out, in the words of the summary.
UNKNOWN = "no pair of this sheet"
OUT_OF_RANGE = "an answer other than 1, 2 and 0"
EDITED = "a text that was changed"
CONTRADICTORY = "two different answers of one rater to one pair"
MISSING = "no answer"


class Problem(NamedTuple):
    """An answer that does not count, and why.

    Attributes:
      kind: one of the constants of this module.
      place: the file and row, or the rater, for people.
      pair: the pair's id, as it was written.
    """

    kind: str
    place: str
    pair: str


class _Said(NamedTuple):
    place: str
    pair: str
    answer: str
    texts: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class SheetAnswers:
    """What raters said.

    Attributes:
      answers: by rater, by the pair's id, 1, 2 or 0 as the sheet shows the pair.
      problems: what was left out, in the order of the files; what is missing is behind.
    """

    answers: Mapping[str, Mapping[str, int]]
    problems: tuple[Problem, ...]

    def of_pair(self, pair: BlindedPair) -> list[float]:
        """The preferences for the first run, of all who answered."""
        found = (own.get(pair.id) for own in self.answers.values())
        return [pair.preference(answer) for answer in found if answer is not None]


def read_sheets(paths: Sequence[pathlib.Path], key: Key) -> SheetAnswers:
    """The answers of filled sheets; a rater may have several.

    Args:
      paths: CSV, or JSON as the page saves it. A file is a rater's, called by its name
        unless it holds one.
      key: of the sheet.

    Raises:
      DataError: a file cannot be read, or is of another sheet.
    """
    answers: dict[str, dict[str, int]] = {}
    left_out: dict[str, dict[str, Problem]] = {}
    problems: list[Problem] = []
    if len({path.resolve() for path in paths}) < len(paths):
        raise DataError("a sheet is given twice: it would count as two people's")
    for path, unnamed in zip(paths, _names(paths), strict=True):
        rater, said = _read(path, key)
        rater = rater or unnamed
        own, bad = answers.setdefault(rater, {}), left_out.setdefault(rater, {})
        good, found = _checked(said, {pair.id: pair for pair in key.shown})
        for one, answer in good:
            if own.setdefault(one.pair, answer) != answer:
                found.append(Problem(CONTRADICTORY, one.place, one.pair))
        problems += found
        for problem in found:
            # A contradiction stays one, whatever else is wrong with the pair.
            known = bad.get(problem.pair)
            if known is None or known.kind != CONTRADICTORY:
                bad[problem.pair] = problem
    for rater, own in answers.items():
        for pair, problem in left_out[rater].items():
            if problem.kind == CONTRADICTORY:
                own.pop(pair, None)
        problems += [
            Problem(MISSING, rater, pair.id)
            for pair in key.shown
            if pair.id not in own and pair.id not in left_out[rater]
        ]
    return SheetAnswers(answers, tuple(problems))


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """What raters are called by their files: `sheet.csv` of several folders are several."""
    counts = collections.Counter(path.stem for path in paths)
    return [path.stem if counts[path.stem] == 1 else str(path) for path in paths]


def _checked(
    said: Iterable[_Said], pairs: Mapping[str, BlindedPair]
) -> tuple[list[tuple[_Said, int]], list[Problem]]:
    good, bad = [], []
    for one in said:
        pair = pairs.get(one.pair)
        text = one.answer.strip()
        if pair is None:
            bad.append(Problem(UNKNOWN, one.place, one.pair))
        elif one.texts is not None and one.texts != tuple(map(as_read, pair.as_shown)):
            bad.append(Problem(EDITED, one.place, one.pair))
        elif not text:
            continue
        elif text not in _ANSWERS:
            bad.append(Problem(OUT_OF_RANGE, one.place, one.pair))
        else:
            good.append((one, _ANSWERS[text]))
    return good, bad


def _read(path: pathlib.Path, key: Key) -> tuple[str, list[_Said]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not UTF-8: save the sheet as 'CSV UTF-8', or as JSON from the page"
        ) from None
    if text.lstrip().startswith("{"):
        rater, said = _read_json(path, text, key)
    else:
        rater, said = "", list(_read_csv(path, text))
    known = {pair.id for pair in key.shown}
    if said and not any(one.pair in known for one in said):
        raise DataError(
            f"{path} is of another sheet than the key: none of its pairs is in the key's"
        )
    return rater, said


def _read_json(path: pathlib.Path, text: str, key: Key) -> tuple[str, list[_Said]]:
    try:
        content = json.loads(text)
        if content["kind"] != _KIND or not isinstance(content["answers"], dict):
            raise ValueError("it is another file")
        sheet, rater = content["sheet"], str(content.get("rater") or "").strip()
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no answers of a sheet's page ({error})"
        ) from error
    if sheet != key.sheet:
        raise DataError(
            f"{path} is of sheet {sheet}, and the key of sheet {key.sheet}: give the "
            "key.json that was written with the sheet"
        )
    said = [
        _Said(str(path), pair, _as_text(answer))
        for pair, answer in content["answers"].items()
    ]
    return rater, said


def _as_text(answer: Any) -> str:
    return str(answer) if isinstance(answer, int) else json.dumps(answer)


def _read_csv(path: pathlib.Path, text: str) -> Iterator[_Said]:
    csv.field_size_limit(2**31 - 1)
    head = text.partition("\n")[0]
    # Spreadsheets of some languages write semicolons.
    delimiter = max(_DELIMITERS, key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [name.strip().lower() for name in next(rows, [])]
        if missing := [name for name in COLUMNS if name not in names]:
            raise DataError(
                f"{path} has no column {', '.join(missing)}: its first row must be that "
                "of the sheet"
            )
        places = [names.index(name) for name in COLUMNS]
        for number, row in enumerate(rows, start=2):
            if not any(cell.strip() for cell in row):
                continue
            cells = row + [""] * (len(names) - len(row))
            pair, *texts, answer = (cells[place] for place in places)
            yield _Said(
                f"{path} row {number}",
                pair.strip(),
                answer,
                tuple(map(as_read, texts)),
            )
    except csv.Error as error:
        raise DataError(f"{path} is broken as a table: {error}") from error


def summary(problems: Sequence[Problem], most: int = 5) -> list[str]:
    """A line for each kind: how many, and where the first are."""
    by_kind = collections.defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(f"{problem.pair} ({problem.place})")
    return [
        f"{len(found):,} with {kind}: {', '.join(found[:most])}"
        + (" …" if len(found) > most else "")
        for kind, found in by_kind.items()
    ]
