"""Makes the support desk's data and vocabulary: no network, the same bytes each time.

    python -m dro_jax.tasks.support_desk.generate --output_dir tasks/support_desk

writes ``train.jsonl.gz``, ``validation.jsonl.gz`` (customers, pairs of a name and an
order number, that the train split never shows) and the SentencePiece model
``support_desk.model``. A record has the fields
``prompt``, ``response`` (of an ordinary agent, see ``agents.py``) and ``thumb`` ("up" or
"down", drawn from a Bernoulli law: P(up) = sigmoid(6 (satisfaction - 0.5)), so a good
reply is at times thumbed down; see ``thumbs.py``).
``replies_train.jsonl.gz`` and ``replies_validation.jsonl.gz`` are for methods that
compare: four replies to each prompt, a line each, with ``stars`` from 1 to 5, 1 and the
ups of four such thumbs. Logs of other agents and other thumbs: ``logs.py``.
"""

import argparse
import gzip
import io
import itertools
import json
import pathlib
import random
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence

from dro_jax.tasks.support_desk import language
from dro_jax.tasks.support_desk.agents import ORDINARY, Habits, write_reply
from dro_jax.tasks.support_desk.drawing import pick
from dro_jax.tasks.support_desk.reward import satisfaction
from dro_jax.tasks.support_desk.stars import THUMBS_PER_REPLY, ups
from dro_jax.tasks.support_desk.thumbs import ORDINARY_THUMBS, ThumbLaw

NUM_TRAIN = 14_000
NUM_VALIDATION = 500
NUM_PROMPTS = {"train": 1_500, "validation": 100}  # of those with several replies
REPLIES_PER_PROMPT = 4
VOCABULARY_SIZE = 256
VALIDATION_CUSTOMER_SHARE = 0.1


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
    records = log_records(rng, split_customers(split, seed))
    return list(
        itertools.islice(records, count if limit is None else min(limit, count))
    )


def log_records(
    rng: random.Random,
    customers: Sequence[tuple[str, str]],
    *,
    habits_for: Callable[[str], Habits] = lambda problem: ORDINARY,
    thumbs: ThumbLaw = ORDINARY_THUMBS,
) -> Iterator[dict]:
    """Records of single replies, one after another without end.

    Args:
      rng: all is drawn from.
      customers: who write, pairs as of :func:`split_customers`.
      habits_for: those of the agent who answers a kind of problem.
      thumbs: how customers judge.
    """
    seen = set()
    while True:
        prompt, request = _write_prompt(rng, customers)
        response = write_reply(rng, request, habits_for(request["problem"]))
        thumb = thumbs.draw(rng, prompt, satisfaction(prompt, response))
        if prompt not in seen:
            seen.add(prompt)
            yield {"prompt": prompt, "response": response, "thumb": thumb}


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
    law = ORDINARY_THUMBS
    records, seen = [], set()
    while len(seen) < count:
        prompt, request = _write_prompt(rng, customers)
        if prompt in seen:
            continue
        seen.add(prompt)
        for _ in range(REPLIES_PER_PROMPT):
            response = write_reply(rng, request)
            score = satisfaction(prompt, response)
            stars = 1 + ups(rng, law, prompt, score, THUMBS_PER_REPLY)
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
    name, number = pick(rng, customers)
    problem = pick(rng, tuple(language.PROBLEMS))
    request = {"name": name, "number": number, "problem": problem}
    parts = (
        pick(rng, language.INTRODUCTIONS),
        pick(rng, language.PROBLEMS[problem]),
        pick(rng, language.PLEAS),
    )
    return " ".join(filter(None, parts)).format(**request), request


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
