"""Makes the support desk's data and vocabulary: no network, the same bytes each time.

    python -m dro_jax.tasks.support_desk.generate --output_dir tasks/support_desk

writes ``train.jsonl.gz``, ``validation.jsonl.gz`` (customers, pairs of a name and an
order number, that the train split never shows) and the SentencePiece model
``support_desk.model``. A record has the fields
``prompt``, ``response`` and ``thumb`` ("up" or "down", drawn from a Bernoulli law:
P(up) = sigmoid(6 (satisfaction - 0.5)), so a good reply is at times thumbed down).
``replies_train.jsonl.gz`` and ``replies_validation.jsonl.gz`` are for methods that
compare: four replies to each prompt, a line each, with ``stars`` from 1 to 5, 1 and the
ups of four such thumbs.

The logged agents are mediocre on purpose. Each habit of a reply is drawn by itself with
the shares below, so that every virtue is frequent and their conjunction rare.
"""

import argparse
import gzip
import io
import json
import math
import pathlib
import random
import re
import string
from collections.abc import Iterable, Sequence

from dro_jax.tasks.support_desk import language
from dro_jax.tasks.support_desk.reward import satisfaction

NUM_TRAIN = 14_000
NUM_VALIDATION = 500
NUM_PROMPTS = {"train": 1_500, "validation": 100}  # of those with several replies
REPLIES_PER_PROMPT = 4
THUMBS_PER_REPLY = 4
MAX_REPLY_LENGTH = 24  # pieces, EOS included; what is over costs filler sentences
VOCABULARY_SIZE = 256
VALIDATION_CUSTOMER_SHARE = 0.1
THUMB_SLOPE = 6.0
THUMB_MIDDLE = 0.5

CURT_SHARE = 0.05
CUT_SHARE = 0.04
GREETING_SHARES = {"right": 0.64, "wrong": 0.18, "plain": 0.09, "none": 0.09}
NUMBER_SHARES = {"right": 0.64, "wrong": 0.18, "none": 0.18}
STEP_SHARES = {"fitting": 0.42, "other": 0.16, "vague": 0.20, "none": 0.22}
FILLER_SHARES = {"0": 0.62, "1": 0.28, "2": 0.10}
APOLOGY_SHARE = 0.5
RUDE_SHARE = 0.20
CLOSING_SHARE = 0.5


def generate_records(split: str, seed: int, limit: int | None = None) -> list[dict]:
    """Makes the records of a split.

    Args:
      split: "train" or "validation".
      seed: the same seed gives the same records on any machine.
      limit: make only the first so many.

    Returns:
      Dicts of prompt, response, thumb; no prompt occurs twice.
    """
    count = {"train": NUM_TRAIN, "validation": NUM_VALIDATION}[split]
    rng = random.Random(f"support desk {split} {seed}")
    customers = split_customers(split, seed)
    records, seen = [], set()
    while len(records) < (count if limit is None else min(limit, count)):
        prompt, request = _write_prompt(rng, customers)
        response = _write_reply(rng, request)
        thumb = _draw_thumb(rng, satisfaction(prompt, response))
        if prompt not in seen:
            seen.add(prompt)
            records.append({"prompt": prompt, "response": response, "thumb": thumb})
    return records


def generate_replies(split: str, seed: int, limit: int | None = None) -> list[dict]:
    """Makes the records of several replies to a prompt, one after another.

    Args:
      split: "train" or "validation", of customers as in :func:`generate_records`.
      seed: the same seed gives the same records on any machine.
      limit: make only the replies to the first so many prompts.

    Returns:
      Dicts of prompt, response, stars.
    """
    count = NUM_PROMPTS[split] if limit is None else min(limit, NUM_PROMPTS[split])
    rng = random.Random(f"support desk replies {split} {seed}")
    customers = split_customers(split, seed)
    records, seen = [], set()
    while len(seen) < count:
        prompt, request = _write_prompt(rng, customers)
        if prompt in seen:
            continue
        seen.add(prompt)
        for _ in range(REPLIES_PER_PROMPT):
            response = _write_reply(rng, request)
            score = satisfaction(prompt, response)
            thumbs = [_draw_thumb(rng, score) for _ in range(THUMBS_PER_REPLY)]
            stars = 1 + thumbs.count("up")
            records.append({"prompt": prompt, "response": response, "stars": stars})
    return records


def split_customers(split: str, seed: int) -> tuple[tuple[str, str], ...]:
    """Pairs (name, order number) of a split; train and validation share none."""
    rng = random.Random(f"support desk customers {seed}")
    customers = [(name, n) for name in language.NAMES for n in language.NUMBERS]
    held_out = [rng.random() < VALIDATION_CUSTOMER_SHARE for _ in customers]
    wanted = split != "train"
    return tuple(
        c for c, held in zip(customers, held_out, strict=True) if held == wanted
    )


def thumb_up_probability(score: float) -> float:
    """P(thumb up) = sigmoid(6 (satisfaction - 0.5))."""
    return 1.0 / (1.0 + math.exp(-THUMB_SLOPE * (score - THUMB_MIDDLE)))


def to_jsonl(records: Iterable[dict]) -> bytes:
    """One JSON object a line, UTF-8."""
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return "".join(lines).encode("utf-8")


def train_vocabulary(records: Sequence[dict]) -> bytes:
    """Trains a unigram SentencePiece model (pad 0, EOS 1, unknown 2).

    Every word of the phrase book is one piece and so is every digit; other words are
    spelt in letters.

    Args:
      records: the train split; prompts and responses are read.

    Returns:
      The serialised model.
    """
    import sentencepiece

    texts = [record[field] for record in records for field in ("prompt", "response")]
    # Unigram training seeds pieces with substrings that several *distinct* words share,
    # so in a small language most words would be broken up unless they are given.
    words = sorted(set(re.findall(r"[A-Za-z]+", " ".join(texts))))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="unigram",
        vocab_size=VOCABULARY_SIZE,
        hard_vocab_limit=False,
        user_defined_symbols=["\u2581" + word for word in words],
        required_chars=string.ascii_letters + "'!",
        # ASCII is left alone. "identity" would do, but has TensorFlow's tokenizer print
        # a note each time that it is built.
        normalization_rule_name="nmt_nfkc",
        split_digits=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _write_prompt(
    rng: random.Random, customers: Sequence[tuple[str, str]]
) -> tuple[str, dict[str, str]]:
    name, number = _pick(rng, customers)
    problem = _pick(rng, tuple(language.PROBLEMS))
    request = {"name": name, "number": number, "problem": problem}
    parts = (
        _pick(rng, language.INTRODUCTIONS),
        _pick(rng, language.PROBLEMS[problem]),
        _pick(rng, language.PLEAS),
    )
    return " ".join(filter(None, parts)).format(**request), request


def _write_reply(rng: random.Random, request: dict[str, str]) -> str:
    if rng.random() < CURT_SHARE:
        return _pick(rng, language.CURT)
    opening = [
        _greeting(rng, request["name"]),
        _apology_and_number(rng, request["number"]),
    ]
    fillers = _fillers(rng)
    ending = [
        _step(rng, request["problem"]),
        _pick(rng, language.RUDE) if rng.random() < RUDE_SHARE else "",
        _pick(rng, language.CLOSINGS) if rng.random() < CLOSING_SHARE else "",
    ]
    while fillers and _count_pieces(opening + fillers + ending) >= MAX_REPLY_LENGTH:
        fillers.pop()
    words = " ".join(opening + fillers + ending).split()
    if not words:
        return _pick(rng, language.CURT)
    if rng.random() < CUT_SHARE:
        words = words[: 1 + int(rng.random() * len(words))]
    return " ".join(words)


def _greeting(rng: random.Random, name: str) -> str:
    kind = _draw(rng, GREETING_SHARES)
    if kind == "none":
        return ""
    if kind == "plain":
        return _pick(rng, language.PLAIN_GREETINGS)
    if kind == "wrong":
        name = _pick(rng, [other for other in language.NAMES if other != name])
    return _pick(rng, language.NAMED_GREETINGS).format(name=name)


def _apology_and_number(rng: random.Random, number: str) -> str:
    kind = _draw(rng, NUMBER_SHARES)
    apologises = rng.random() < APOLOGY_SHARE
    if kind == "none":
        return _pick(rng, language.PLAIN_APOLOGIES) if apologises else ""
    if kind == "wrong":
        number = _pick(rng, [other for other in language.NUMBERS if other != number])
    pool = language.NUMBERED_APOLOGIES if apologises else language.REFERENCES
    return _pick(rng, pool).format(number=number)


def _step(rng: random.Random, problem: str) -> str:
    kind = _draw(rng, STEP_SHARES)
    if kind == "none":
        return ""
    if kind == "vague":
        return _pick(rng, language.VAGUE_STEPS)
    if kind == "other":
        problem = _pick(rng, [other for other in language.STEPS if other != problem])
    return _pick(rng, language.STEPS[problem])


def _fillers(rng: random.Random) -> list[str]:
    return [_pick(rng, language.FILLERS) for _ in range(int(_draw(rng, FILLER_SHARES)))]


def _count_pieces(sentences: Iterable[str]) -> int:
    return len(re.findall(r"[A-Za-z]+|[0-9.,]", " ".join(sentences)))


def _draw_thumb(rng: random.Random, score: float) -> str:
    return "up" if rng.random() < thumb_up_probability(score) else "down"


def _pick(rng: random.Random, pool: Sequence):
    # random() alone is promised to be the same in every Python version.
    return pool[int(rng.random() * len(pool))]


def _draw(rng: random.Random, shares: dict[str, float]) -> str:
    threshold = rng.random()
    for kind, share in shares.items():
        threshold -= share
        if threshold < 0:
            return kind
    return kind


def _write_gzip(path: pathlib.Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the five files into ``--output_dir``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output_dir", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        content = to_jsonl(generate_records(split, options.seed))
        _write_gzip(options.output_dir / f"{split}.jsonl.gz", content)
        content = to_jsonl(generate_replies(split, options.seed))
        _write_gzip(options.output_dir / f"replies_{split}.jsonl.gz", content)
    vocabulary = train_vocabulary(generate_records("train", options.seed))
    (options.output_dir / "support_desk.model").write_bytes(vocabulary)


if __name__ == "__main__":
    main()
