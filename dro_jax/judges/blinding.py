"""Pairs of responses for people who must not know whose they are."""

import collections
import dataclasses
import hashlib
import json
import pathlib
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from dro_jax.errors import DataError
from dro_jax.judges.interface import Pair
from dro_jax.whole_files import write_whole

_KIND = "dro-jax judge key"


class Contest(NamedTuple):
    """Two runs' responses to one prompt."""

    first_run: str
    second_run: str
    prompt_id: str
    pair: Pair


@dataclasses.dataclass(frozen=True)
class BlindedPair:
    """A pair with what the sheet does not tell.

    Attributes:
      id: what the sheet calls it, 10 hexadecimal digits.
      contest: whose responses they are.
      swapped: whether the sheet shows the second run's first.
      shown: whether it is in the sheet; equal responses are not.
    """

    id: str
    contest: Contest
    swapped: bool
    shown: bool

    @property
    def as_shown(self) -> Pair:
        """The texts as the sheet has them."""
        prompt, first, second = self.contest.pair
        return Pair(prompt, second, first) if self.swapped else self.contest.pair

    def preference(self, answer: int) -> float:
        """That for the first run: 1, 0, or 0.5 for a tie.

        Args:
          answer: 1 or 2, the response that the sheet shows first or second; 0, neither.
        """
        if not answer:
            return 0.5
        return float((answer == 1) != self.swapped)


@dataclasses.dataclass(frozen=True)
class Key:
    """What tells whose responses a sheet shows; kept apart from it.

    Attributes:
      sheet: the sheet's name, a digest of what it shows.
      seed: by which order and sides were drawn.
      pairs: in the sheet's order; those not shown are behind.
    """

    sheet: str
    seed: int
    pairs: tuple[BlindedPair, ...]

    @property
    def shown(self) -> list[BlindedPair]:
        """Those in the sheet."""
        return [pair for pair in self.pairs if pair.shown]

    def write(self, path: pathlib.Path) -> None:
        """Writes it as JSON."""
        pairs = [
            {
                "id": own.id,
                "runs": [own.contest.first_run, own.contest.second_run],
                "prompt_id": own.contest.prompt_id,
                "prompt": own.contest.pair.prompt,
                "responses": [own.contest.pair.first, own.contest.pair.second],
                "swapped": own.swapped,
                "shown": own.shown,
            }
            for own in self.pairs
        ]
        content = {"kind": _KIND, "version": 1, "sheet": self.sheet, "seed": self.seed}
        # In ASCII: half of a surrogate pair, which JSON can hold, is no UTF-8.
        text = json.dumps(content | {"pairs": pairs}, indent=1) + "\n"
        write_whole(path, lambda file: file.write(text.encode()))

    @classmethod
    def read(cls, path: pathlib.Path) -> Self:
        """What :meth:`write` wrote.

        Raises:
          DataError: the file is missing, damaged or another.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
            if content["kind"] != _KIND:
                raise ValueError("it is another file")
            pairs = tuple(map(_pair_of, content["pairs"]))
            return cls(content["sheet"], content["seed"], pairs)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is no key of a sheet ({error}): give the key.json that "
                "`dro-jax judge sheet` wrote"
            ) from error


def blinded(contests: Iterable[Contest], seed: int) -> Key:
    """Pairs in a random order, of each two runs half with the second on the first side.

    Args:
      contests: the pairs.
      seed: of the order and the sides.
    """
    draw = random.Random(seed)
    by_runs = collections.defaultdict(list)
    for number, contest in enumerate(contests):
        by_runs[contest[:2]].append((_id(seed, number, contest), contest))
    shown, equal = [], []
    for ours in by_runs.values():
        different = [own for own in ours if own[1].pair.first != own[1].pair.second]
        draw.shuffle(different)
        # Drawn for an odd one too, so that no run is first more often by rule.
        turn = draw.randrange(2)
        for place, (name, contest) in enumerate(different):
            shown.append(BlindedPair(name, contest, (place + turn) % 2 == 1, True))
        equal += [
            BlindedPair(name, contest, False, False)
            for name, contest in ours
            if contest.pair.first == contest.pair.second
        ]
    draw.shuffle(shown)
    return Key(_sheet(shown), seed, (*shown, *equal))


def _id(seed: int, number: int, contest: Contest) -> str:
    return _digest([seed, number, *contest[:3], *contest.pair])[:10]


def _sheet(shown: Sequence[BlindedPair]) -> str:
    return _digest([[own.id, *own.as_shown] for own in shown])[:8]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _pair_of(fields: Any) -> BlindedPair:
    first, second = fields["responses"]
    pair = Pair(fields["prompt"], first, second)
    contest = Contest(*fields["runs"], fields["prompt_id"], pair)
    return BlindedPair(fields["id"], contest, fields["swapped"], fields["shown"])
