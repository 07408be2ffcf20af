"""Files of made-up feedback of any size: `python -m dro_jax.benchmarks.made_records`.

Words are made of syllables and drawn by Zipf's law (a word's frequency is as 1 / rank);
lengths of prompts and responses are log-normal, with the spread of the logarithms of
HHA's. A record takes about half a kilobyte. The same seed gives the same records, and
the first of many are the same as all of a few.
"""

import argparse
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterator, Sequence

import numpy as np

DATA = "train"
VOCABULARY = "vocabulary.model"
_AT_ONCE = 20_000
_WORDS = 30_000
_POOL = 1_000_000
# Medians and spreads, in words.
_PROMPT = (33, 1.1)
_RESPONSE = (15, 0.97)
_LONGEST = (600, 300)
_BREAK, _SPACE = "\\n", " "  # as JSON writes them


@dataclasses.dataclass(frozen=True, eq=False)
class _Pool:
    """A long text, of which each record's are cut out.

    Attributes:
      text: words and punctuation.
      starts: ``[W]`` where each word begins.
      ends: ``[W]`` where it ends, its punctuation included.
    """

    text: str
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def made(cls, rng: np.random.Generator) -> "_Pool":
        words = _words(rng)
        frequencies = 1 / (np.arange(len(words)) + 2.7)
        drawn = rng.choice(len(words), _POOL, p=frequencies / frequencies.sum())
        marks = rng.choice(
            ["", ",", ".", "?"], _POOL, p=[0.87, 0.055, 0.065, 0.01]
        ).tolist()
        breaks = (rng.random(_POOL) < 0.1).tolist()
        parts, starts, ends, place, begins = [], [], [], 0, True
        for number, mark, breaks_line in zip(
            drawn.tolist(), marks, breaks, strict=True
        ):
            word = words[number].capitalize() if begins else words[number]
            begins = mark in (".", "?")
            space = _BREAK if begins and breaks_line else _SPACE
            starts.append(place)
            ends.append(place + len(word) + len(mark))
            place = ends[-1] + len(space)
            parts += (word, mark, space)
        return cls("".join(parts), np.array(starts), np.array(ends))

    def cuts(
        self, rng: np.random.Generator, count: int, spread: tuple[int, float], most: int
    ) -> tuple[list[int], list[int]]:
        """Where texts of so many words begin and end."""
        median, sigma = spread
        lengths = np.exp(rng.normal(np.log(median), sigma, count)).astype(np.int64) + 1
        lengths = np.minimum(lengths, most)
        first = rng.integers(0, _POOL - most, count)
        return self.starts[first].tolist(), self.ends[first + lengths - 1].tolist()


def write_records(
    folder: str | os.PathLike, count: int, *, seed: int = 0, files: int = 1
) -> list[pathlib.Path]:
    """Writes records with `prompt`, `response` and `reward` as JSONL.

    Args:
      folder: where to; it is made.
      count: how many records, over all files.
      seed: of all that is random.
      files: how many files.

    Returns:
      The files, in the order of their records.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [
        folder / f"{DATA}-{number:05d}-of-{files:05d}.jsonl" for number in range(files)
    ]
    lines = _lines(seed, count)
    waiting: list[str] = []
    for number, path in enumerate(paths):
        left = count * (number + 1) // files - count * number // files
        with open(path, "w", encoding="utf-8") as file:
            while left:
                waiting = waiting or next(lines)
                file.writelines(waiting[:left])
                waiting, left = waiting[left:], left - min(left, len(waiting))
    return paths


def write_vocabulary(
    folder: str | os.PathLike, *, seed: int = 0, pieces: int = 8000
) -> pathlib.Path:
    """Trains a SentencePiece model on texts of the same words.

    Args:
      folder: where to; it is made.
      seed: that of the records.
      pieces: of the vocabulary.
    """
    import sentencepiece

    path = pathlib.Path(folder) / VOCABULARY
    path.parent.mkdir(parents=True, exist_ok=True)
    pool = _Pool.made(np.random.default_rng(seed))
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(pool.text[: 4 * _POOL].split(_BREAK)),
            model_writer=file,
            model_type="unigram",
            vocab_size=pieces,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    return path


def _lines(seed: int, count: int) -> Iterator[list[str]]:
    """The records as lines, some at a time."""
    pool = _Pool.made(np.random.default_rng(seed))
    text = pool.text
    for first in range(0, count, _AT_ONCE):
        rng = np.random.default_rng((seed, first))
        prompts = pool.cuts(rng, _AT_ONCE, _PROMPT, _LONGEST[0])
        responses = pool.cuts(rng, _AT_ONCE, _RESPONSE, _LONGEST[1])
        rewards = rng.normal(size=_AT_ONCE).round(4).tolist()
        lines = [
            f'{{"prompt": "{text[a:b]}", "response": "{text[c:d]}", "reward": {r}}}\n'
            for a, b, c, d, r in zip(*prompts, *responses, rewards, strict=True)
        ]
        yield lines[: count - first]


def _words(rng: np.random.Generator) -> list[str]:
    """Words of one to five syllables, short ones first."""
    syllables = [
        onset + vowel + coda
        for onset in [
            "b",
            "c",
            "d",
            "f",
            "g",
            "h",
            "l",
            "m",
            "n",
            "p",
            "r",
            "s",
            "t",
            "v",
            "w",
            "ch",
            "st",
        ]
        for vowel in ["a", "e", "i", "o", "u", "ea", "ou", "é"]
        for coda in ("", "", "n", "r", "s")
    ]
    sizes = rng.choice([1, 2, 3, 4, 5], 2 * _WORDS, p=[0.02, 0.38, 0.4, 0.15, 0.05])
    picks = rng.integers(0, len(syllables), (2 * _WORDS, 5)).tolist()
    made = (
        "".join(syllables[i] for i in pick[:size])
        for pick, size in zip(picks, sizes.tolist(), strict=True)
    )
    return sorted(list(dict.fromkeys(made))[:_WORDS], key=len)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes records and a vocabulary to a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m dro_jax.benchmarks.made_records",
        description="Write made-up feedback, and a vocabulary for it.",
    )
    parser.add_argument("folder")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    begin = time.perf_counter()
    paths = write_records(
        given.folder, given.records, seed=given.seed, files=given.files
    )
    seconds = time.perf_counter() - begin
    write_vocabulary(given.folder, seed=given.seed)
    size = sum(path.stat().st_size for path in paths)
    print(
        f"{given.folder}: {given.records:,} records, {size / 1e6:,.1f} MB, written at "
        f"{given.records / seconds:,.0f} a second"
    )


if __name__ == "__main__":
    main()
