"""What a language model is asked of a pair, and what its answer says."""

import dataclasses
import hashlib
import pathlib
import re

from dro_jax import paths
from dro_jax.errors import ConfigError
from dro_jax.judges.interface import Pair

SHIPPED = pathlib.Path(__file__).with_name("question.txt")
_NEEDED = ("prompt", "first", "second")
_PLACES = re.compile(r"\{(prompt|first|second|mark)\}")
_VERDICT = re.compile(r"verdict\s*:\s*(?:response\s+)?(a|b|tie)\.?", re.IGNORECASE)
# As models write a line in bold, as code, as a heading or in quotes.
_MARKUP = re.compile(r"[*_`#>\"]")
_PREFERENCES = {"a": 1.0, "b": 0.0, "tie": 0.5}


@dataclasses.dataclass(frozen=True)
class Question:
    """A text with places `{prompt}`, `{first}`, `{second}` and, if wanted, `{mark}`.

    The mark is 16 digits that hang on the three texts, so that no response can hold it
    and pass off what follows as somebody else's words.

    Attributes:
      text: the whole; every other brace is a brace.

    Raises:
      ConfigError: a place is missing.
    """

    text: str

    def __post_init__(self):
        there = set(_PLACES.findall(self.text))
        if missing := [f"{{{name}}}" for name in _NEEDED if name not in there]:
            raise ConfigError(
                f"the judge's question has no {', '.join(missing)}: put it where that "
                "text is to stand. `dro-jax judge template` prints the one that ships"
            )

    @classmethod
    def read(cls, path: paths.PathLike | None) -> "Question":
        """Of a text file; None, the one that ships.

        Raises:
          ConfigError: the file cannot be read, or a place is missing.
        """
        file = SHIPPED if path is None else pathlib.Path(paths.expanded(path))
        try:
            text = file.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"JUDGE_TEMPLATE = {str(path)!r} cannot be read ({paths.reason(error)})"
            ) from error
        try:
            return cls(text)
        except ConfigError as error:
            raise ConfigError(f"JUDGE_TEMPLATE = {str(path)!r}: {error}") from None

    def of(self, pair: Pair) -> str:
        """The question about a pair, the first response in the place of A."""
        texts = dict(zip(_NEEDED, pair, strict=True)) | {"mark": _mark(pair)}
        # In one pass: what a response says in braces stays what it says.
        text = _PLACES.sub(lambda place: texts[place[1]], self.text)
        # Half of a surrogate pair, which JSON can hold, is refused by most servers.
        return text.encode("utf-8", "replace").decode()


def preference_of(answer: str) -> float | None:
    """What an answer says of A and B; None where it gives no verdict.

    Its last line must be `VERDICT: A`, `VERDICT: B` or `VERDICT: TIE`, and no other line
    may be one of these. What a model that thinks aloud says until `</think>` is passed
    over.

    Args:
      answer: the text.

    Returns:
      1 where A is better, 0 where B is, 0.5 for a tie.
    """
    said = answer.rpartition("</think>")[2]
    lines = [_MARKUP.sub("", line).strip() for line in said.splitlines()]
    lines = [line for line in lines if line]
    found = [_VERDICT.fullmatch(line) for line in lines]
    if sum(match is not None for match in found) != 1 or found[-1] is None:
        return None
    return _PREFERENCES[found[-1][1].lower()]


def _mark(pair: Pair) -> str:
    digest = hashlib.sha256()
    # The same for both orders, of which neither may be told from the other.
    for text in (pair.prompt, *sorted((pair.first, pair.second))):
        data = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:16]
