"""SentencePiece vocabularies that keep line breaks, tabs and runs of spaces.

T5's SentencePiece models read every run of white space as one space. Here each character
that would be lost stands in the text as a word of its own, a mark, while it is read as
tokens; the way back to text undoes it. All that lies before tokens and after them, as
rewards, prompts that are compared, and generated responses, sees plain text.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dro_jax.data.sentencepiece_files import holds_extra_ids
from dro_jax.data.text_vocabularies import SentencePieceVocabulary, TextVocabulary
from dro_jax.data.tokens import Tokens
from dro_jax.errors import ConfigError, DataError

NEWLINE, TAB, SPACE = "\n", "\t", " "
_KEPT = (NEWLINE, TAB, SPACE)
# Visible words, for vocabularies without extra ids.
_VISIBLE = ("<n>", "<t>", "<s>")
_EXTRA_IDS_IN_FILES = 100
# A space that is not one between two words, while a text is rewritten.
_ODD = "\ue000"
_WHITE = f"{_ODD}\n\t"
_PROBE = " {0}\n\n{0}\t {0}  {0} \n"

Marks = tuple[tuple[str, str], ...]


class Substitution(NamedTuple):
    """A regular expression and what takes its place, for `re` and for RE2 alike."""

    pattern: str
    rewrite: str


class WhitespaceVocabulary(SentencePieceVocabulary):
    r"""T5's SentencePiece vocabulary, with marks for white space that it would lose.

    A line break, a tab and a space become a mark each, but for single spaces between
    words, which need none, and the first space of a run between words: `a\nb  c` is read
    as `a <extra_id_99> b <extra_id_97> c`. `\r\n` is a line break.

    Args:
      sentencepiece_model_file: the model's path.
      extra_ids: sentinels to add to it.
      marks: white space to word, as `{'\n': '<n>'}`; what is not named is lost as ever.
        None: the three extra ids that come first in the vocabulary, T5's
        `<extra_id_99>` to `<extra_id_97>`; or `<n>`, `<t>` and `<s>` where there are
        none.

    Raises:
      ConfigError: `marks` cannot be used.
    """

    def __init__(
        self,
        sentencepiece_model_file: str,
        extra_ids: int = 0,
        marks: Mapping[str, str] | None = None,
    ):
        super().__init__(sentencepiece_model_file, extra_ids=extra_ids)
        self._given = check_marks(marks)

    @property
    def marks(self) -> Marks:
        """Pairs of white space and its word."""
        if self._given is not None:
            return self._given
        count = self.extra_ids
        if count < len(_KEPT) and holds_extra_ids(self.tokenizer):
            count = _EXTRA_IDS_IN_FILES
        if count < len(_KEPT):
            return tuple(zip(_KEPT, _VISIBLE, strict=True))
        words = [f"<extra_id_{count - 1 - i}>" for i in range(len(_KEPT))]
        return tuple(zip(_KEPT, words, strict=True))

    def check(self) -> None:
        """Compares the marks with the vocabulary.

        Raises:
          DataError: it does not know one of them, or does not give it back.
        """
        for white, word in self.marks:
            if self.unk_id in self.encode(white):
                raise DataError(
                    f"the vocabulary {self.sentencepiece_model_file} has no pieces for "
                    f"'{word}', which would stand for {white!r}: set extra_ids to "
                    f"{len(_KEPT)} or more (T5's models take 100), or keep_whitespace to "
                    "words that it has, as {'\\n': '[n]'}"
                )
        kept = _PROBE.format(_letter(self.tokenizer))
        for white in set(_KEPT) - {white for white, _ in self.marks}:
            kept = kept.replace(white, "")
        if self._text(self.encode(kept)) != kept:
            raise DataError(
                f"keep_whitespace does not keep {kept!r} with the vocabulary "
                f"{self.sentencepiece_model_file}, which gives back "
                f"{self._text(self.encode(kept))!r}: choose other words"
            )

    def encode(self, text: str) -> list[int]:
        return super().encode(rewritten(text, to_marks(self.marks)))

    def encode_all(self, texts: Sequence[str | bytes]) -> Tokens:
        steps = to_marks(self.marks)
        plain = (x.decode() if isinstance(x, bytes) else x for x in texts)
        return super().encode_all([rewritten(text, steps) for text in plain])

    def _text(self, ids: list[int]) -> str:
        return rewritten(super()._text(ids), from_marks(self.marks))

    def __str__(self) -> str:
        return f"{super().__str__()} with marks {dict(self.marks)}"


def keep_whitespace(
    vocabulary: TextVocabulary, marks: Mapping[str, str] | bool
) -> TextVocabulary:
    """The vocabulary, with marks for white space.

    Args:
      vocabulary: of SentencePiece.
      marks: True for those that it takes by itself; False for none.

    Raises:
      ConfigError: it is of another kind, or the marks cannot be used.
    """
    if marks is False or marks is None:
        return vocabulary
    if type(vocabulary) is not SentencePieceVocabulary:
        raise ConfigError(
            f"keep_whitespace has no effect on a {type(vocabulary).__name__}: it is for "
            "vocabularies of SentencePiece, which lose white space; bytes lose none"
        )
    kept = WhitespaceVocabulary.__new__(WhitespaceVocabulary)
    given = check_marks(None if marks is True else marks)
    kept.__setstate__({**vocabulary.__getstate__(), "_given": given})
    return kept


def check_marks(marks: Mapping[str, str] | None) -> Marks | None:
    """The marks as pairs, in a fixed order.

    Raises:
      ConfigError: they are none.
    """
    if marks is None:
        return None
    is_known = isinstance(marks, Mapping) and marks and set(marks) <= set(_KEPT)
    words = list(marks.values()) if is_known else []
    if not is_known or len(set(words)) != len(words) or not all(map(_is_word, words)):
        raise ConfigError(
            f"keep_whitespace = {marks!r} cannot be used: give True, or a word without "
            "white space, another each, for '\\n', '\\t' or ' ', as {'\\n': '<n>'}"
        )
    return tuple((white, marks[white]) for white in _KEPT if white in marks)


def _is_word(word: object) -> bool:
    return isinstance(word, str) and len(word.split()) == 1 and word == word.strip()


@functools.lru_cache
def to_marks(marks: Marks) -> tuple[Substitution, ...]:
    """What makes a text one of words with single spaces between them."""
    steps = [Substitution("\r\n", "\n")] if NEWLINE in dict(marks) else []
    if SPACE in dict(marks):
        steps.append(Substitution(" ", _ODD))
        # Twice each: a match takes the next word's first letter, which may be its only
        # one. The plain space that is left keeps what is done from being done again.
        single = Substitution(f"([^{_WHITE}]){_ODD}([^{_WHITE}])", r"\1 \2")
        several = Substitution(
            f"([^{_WHITE} ]){_ODD}({_ODD}+)([^{_WHITE} ])", r"\1 \2\3"
        )
        steps += [single, single, several, several]
    for white, word in marks:
        escaped = word.replace("\\", "\\\\")
        steps.append(Substitution(_ODD if white == SPACE else white, f" {escaped} "))
    return (*steps, Substitution(" +", " "))


@functools.lru_cache
def from_marks(marks: Marks) -> tuple[Substitution, ...]:
    """What undoes :func:`to_marks`."""
    steps = [
        Substitution(f" ?{re.escape(word)} ?", _ODD if white == SPACE else white)
        for white, word in marks
    ]
    if SPACE in dict(marks):
        several = Substitution(f"([^{_WHITE} ])({_ODD}+)([^{_WHITE} ])", r"\1 \2\3")
        steps += [several, several, Substitution(_ODD, " ")]
    return tuple(steps)


def _letter(tokenizer) -> str:
    """A letter that the vocabulary has."""
    pieces = map(tokenizer.id_to_piece, range(tokenizer.get_piece_size()))
    return next((p for p in pieces if len(p) == 1 and p.isalpha()), "a")


def rewritten(text: str, steps: tuple[Substitution, ...]) -> str:
    """A text after these steps, one after another."""
    for step in steps:
        text = re.sub(step.pattern, step.rewrite, text)
    return text
