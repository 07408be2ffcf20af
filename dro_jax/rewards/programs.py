"""Rewards that a few lines compute: length, form, patterns."""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Sequence

import numpy as np

from dro_jax.errors import ConfigError
from dro_jax.rewards.fingerprints import of_settings
from dro_jax.rewards.interface import Scores

_UNITS: dict[str, Callable[[str], int]] = {
    "words": lambda text: len(text.split()),
    "characters": len,
}
# A sentence may close with quotes and brackets behind its full stop.
_CLOSING = "\"'”’»)]}*_`"
_ENDS = (".", "!", "?", "…", "。", "！", "？", "؟", "।")


@dataclasses.dataclass(frozen=True)
class Length:
    """How long a response is, at most so much of it, or how near to a target.

    length, min(length, cap), or −|length − target|; words are what white space parts.

    Attributes:
      unit: `words` or `characters`.
      target: the length that is best, with reward 0; the part `length` is the length.
      cap: what is longer earns no more.
      name: what tables call it.

    Raises:
      ConfigError: the unit is unknown, both target and cap are given, or one is below 0.
    """

    unit: str = "words"
    target: float | None = None
    cap: float | None = None
    name: str = "length"

    def __post_init__(self):
        if self.unit not in _UNITS:
            raise ConfigError(
                f"Length.unit = {self.unit!r}: give {' or '.join(map(repr, _UNITS))}"
            )
        if self.target is not None and self.cap is not None:
            raise ConfigError(
                "Length has a target and a cap: give the target, which is best, or the "
                "cap, above which nothing more is earned"
            )
        for name in ("target", "cap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigError(f"Length.{name} = {value}: give a number from 0 on")

    @property
    def fingerprint(self) -> str:
        return of_settings(self)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        lengths = np.array(list(map(_UNITS[self.unit], responses)), np.float64)
        if self.target is not None:
            return Scores(-np.abs(lengths - self.target), {"length": lengths})
        if self.cap is not None:
            return Scores(np.minimum(lengths, self.cap), {"length": lengths})
        return Scores(lengths)


@dataclasses.dataclass(frozen=True)
class Format:
    """The share of wishes for a response's form that it meets; each is a part, 0 or 1.

    Attributes:
      not_empty: it holds more than white space.
      ends_whole: it ends with a full stop, or what is one in other scripts, quotes and
        brackets behind it aside: it was not cut in a sentence.
      starts_with: it begins so; "", no wish.
      parses_as_json: it is JSON, whole.
      json_keys: it is a JSON object that has these keys.
      name: what tables call it.

    Raises:
      ConfigError: nothing is wished for.
    """

    not_empty: bool = False
    ends_whole: bool = False
    starts_with: str = ""
    parses_as_json: bool = False
    json_keys: Sequence[str] = ()
    name: str = "format"

    def __post_init__(self):
        if isinstance(self.json_keys, str):
            raise ConfigError("Format.json_keys must be a list, as ['answer']")
        if not self._checks():
            raise ConfigError(
                "Format wishes for nothing: set not_empty, ends_whole, starts_with, "
                "parses_as_json or json_keys"
            )

    @property
    def fingerprint(self) -> str:
        return of_settings(self)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        parts = {
            name: np.array([check(text) for text in responses], np.float64)
            for name, check in self._checks().items()
        }
        return Scores(np.mean(list(parts.values()), axis=0), parts)

    def _checks(self) -> dict[str, Callable[[str], bool]]:
        checks = {
            "not_empty": self.not_empty and (lambda text: bool(text.strip())),
            "ends_whole": self.ends_whole and _ends_whole,
            "starts_with": self.starts_with
            and (lambda text: text.startswith(self.starts_with)),
            "parses_as_json": self.parses_as_json
            and (lambda text: _json(text) is not _NO_JSON),
            "json_keys": self.json_keys and self._has_keys,
        }
        return {name: check for name, check in checks.items() if check}

    def _has_keys(self, text: str) -> bool:
        value = _json(text)
        return isinstance(value, dict) and set(self.json_keys) <= value.keys()


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Whether a regular expression is found in a response, or how often.

    1 where it is found and 0 where not; counted, the number of places, at most the cap.
    To punish what it finds, give it a negative weight in a `WeightedSum`.

    Attributes:
      pattern: Python's; `(?i)` at its beginning ignores case, `\\A…\\Z` is the whole.
      count: whether places are counted.
      cap: the most that are.
      name: what tables call it.

    Raises:
      ConfigError: it is no regular expression, or a cap has no effect.
    """

    pattern: str
    count: bool = False
    cap: int | None = None
    name: str = "pattern"

    def __post_init__(self):
        try:
            found = re.compile(self.pattern)
        except (re.error, TypeError, RecursionError) as error:
            raise ConfigError(
                f"Pattern.pattern = {self.pattern!r} is no regular expression: {error}"
            ) from error
        if found.search("") and self.count:
            raise ConfigError(
                f"Pattern.pattern = {self.pattern!r} finds empty text everywhere, so it "
                "cannot be counted"
            )
        if self.cap is not None and (not self.count or self.cap < 1):
            raise ConfigError(
                f"Pattern.cap = {self.cap} limits what is counted: set count = True, and "
                "a cap of 1 or more"
            )

    @property
    def fingerprint(self) -> str:
        return of_settings(self)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        counts = list(map(self._count, responses))
        return Scores(np.array(counts, np.float64))

    def _count(self, text: str) -> float:
        found = re.compile(self.pattern)
        if not self.count:
            return float(found.search(text) is not None)
        places = sum(1 for _ in found.finditer(text))
        return float(places if self.cap is None else min(places, self.cap))


def _ends_whole(text: str) -> bool:
    return text.rstrip().rstrip(_CLOSING).endswith(_ENDS)


_NO_JSON = object()


def _refused(constant: str):
    raise ValueError(f"{constant} is not JSON")


@functools.lru_cache(maxsize=1)
def _json(text: str):
    """What a text says as JSON, strictly; a mark of its own where it is none."""
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return _NO_JSON
