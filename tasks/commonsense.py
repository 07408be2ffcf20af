"""Commonsense inferences: A-LoL's task on ATOMIC10x, tested on ATOMIC2020.

- `commonsense`: heads and relations of ATOMIC10x with the tails that a language model
  gave, and as the reward the critic's `p_valid_model`, the probability that a tail is
  valid. The files say which records are for training and for validation. With a critic
  it has the split `test` too: ATOMIC2020's heads and relations, of each the tail that the
  critic likes best, with its score as the reward.
- `atomic2020`: all tails of ATOMIC2020's test file that have one of ATOMIC10x's seven
  relations; people wrote them, and each counts as a thumb up.

Files, in the folder that the environment variable `DRO_JAX_DATA` names:
`commonsense/ATOMIC10X.jsonl` and `commonsense/test.tsv` (head, relation and tail, without
a row of names).

Sources: West et al. 2022 (arXiv 2110.07178) for ATOMIC10x and its critic, Baheti et al.
2024 (arXiv 2305.14718) and their code (https://github.com/abaheti95/LoL-RL,
preprocess_comet_and_add_rewards.py) for prompts, relations and what the test is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.data.record_format import RecordFormat
from dro_jax.data.record_source import Parts, RecordSource
from dro_jax.data.records import DerivedFields, RawRecord, RecordProblem, missing_field
from dro_jax.data.rewards import Float
from dro_jax.data.scored_source import ScoredSource
from dro_jax.data.sources import ExpandedSource
from dro_jax.data.templates import describe_type
from dro_jax.rewards.interface import Reward
from dro_jax.tasks.commonsense_critic import PROMPT, RELATIONS
from dro_jax.tasks.published import (
    JoinedSplits,
    PublishedTask,
    published_files,
    task_of_run,
)

_ATOMIC10X = (
    "it is in https://storage.googleapis.com/ai2-mosaic-public/projects/"
    "symbolic-knowledge-decoding/symbolic-knowledge-distillation.tar.gz; lay it into "
    "the folder commonsense."
)
_ATOMIC2020 = (
    "it is the test.tsv of atomic2020_data-feb2021, to which https://github.com/"
    "allenai/comet-atomic-2020 leads; lay it into the folder commonsense."
)
_COLUMNS = ("head", "relation", "tail")
_SPLITS = ("train", "val", "test")  # that ATOMIC10x's records are of
_OTHER = "other"  # records of relations that ATOMIC10x does not have

Fields = Mapping[str, Any]


def expand_triple(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The trajectory of `head`, `relation` and `tail`, with `p_valid_model` if it is there.

    Raises:
      RecordProblem: one of the three is missing or no text, or the relation unknown.
    """
    for name in _COLUMNS:
        if name not in fields:
            raise missing_field(fields, name)
        if not isinstance(fields[name], str):
            raise RecordProblem(
                "wrong_type", f"'{name}' is {describe_type(fields[name])}, not a text"
            )
    relation = fields["relation"].strip()
    if relation not in RELATIONS:
        raise RecordProblem(
            "unknown_relation",
            f"the relation {relation!r} is none of ATOMIC10x's, {', '.join(RELATIONS)}",
        )
    made = {
        "prompt": PROMPT.format(head=fields["head"].strip(), relation=relation),
        "response": fields["tail"],
        "split": fields.get("split"),
    }
    names = {"prompt": "head", "response": "tail", "reward": "p_valid_model"}
    if "p_valid_model" in fields:
        made["reward"] = fields["p_valid_model"]
    yield "", DerivedFields(made, names, fields)


def expand_logged(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """As :func:`expand_triple`, of a record that must say which split it is of.

    Raises:
      RecordProblem: as there, or its `split` is missing or none of ATOMIC10x's.
    """
    if "split" not in fields:
        raise missing_field(fields, "split")
    if fields["split"] not in _SPLITS:
        raise RecordProblem(
            "unknown_split",
            f"'split' is {fields['split']!r}, none of {', '.join(map(repr, _SPLITS))}",
        )
    yield from expand_triple(fields)


def expand_by_people(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """As :func:`expand_triple`, each tail a thumb up; others' relations are no record."""
    if str(fields.get("relation")).strip() in RELATIONS:
        for name, made in expand_triple(fields):
            made["reward"] = True
            yield name, made
    elif set(_COLUMNS) <= set(fields):
        yield "", {"split": _OTHER}


def _of_train(fields: Fields) -> bool:
    return fields["split"] == "train"


def _of_validation(fields: Fields) -> bool:
    return fields["split"] == "val"


def _of_known_relation(fields: Fields) -> bool:
    return fields["split"] != _OTHER


class BestResponses(RecordSource):
    """Of each prompt the response with the highest reward; the first of equals.

    Args:
      source: of records with `prompt`, `response` and `reward`.
    """

    def __init__(self, source: RecordSource):
        self._source = source

    @property
    def splits(self) -> Sequence[str]:
        return self._source.splits

    def description(self) -> str:
        return self._source.description()

    def parts(self, split: str) -> Parts:
        """The whole: a prompt's responses may stand anywhere in it."""
        _, contents, paths = self._source.parts(self.check_split(split))
        return Parts(
            contents=None if contents is None else ["best", contents], paths=paths
        )

    def records(self, split: str) -> Iterator[RawRecord]:
        best: dict[Any, tuple[float, RawRecord]] = {}
        read = Float().parse
        for raw in self._source.records(self.check_split(split)):
            try:
                if raw.problem is not None:
                    raise raw.problem
                for name in ("prompt", "response", "reward"):
                    if name not in raw.fields:
                        raise missing_field(raw.fields, name)
                reward = read(raw.fields["reward"])
                prompt = str(raw.fields["prompt"])
            except RecordProblem as problem:
                yield RawRecord(raw.identity, problem=problem)
                continue
            if prompt not in best or reward > best[prompt][0]:
                best[prompt] = reward, raw
        for _, raw in best.values():
            yield raw


def _source(critic: Reward | None = None) -> RecordSource:
    logged = ExpandedSource(
        published_files({"all": "commonsense/ATOMIC10X.jsonl"}, _ATOMIC10X),
        expand_logged,
        {"train": ("all", _of_train), "validation": ("all", _of_validation)},
    )
    splits: dict[str, RecordSource] = {"train": logged, "validation": logged}
    if critic is not None:
        scored = ScoredSource(_by_people(), RecordFormat(), critic)
        splits["test"] = BestResponses(scored)
    return JoinedSplits(splits)


def _by_people() -> RecordSource:
    return ExpandedSource(
        published_files({"test": "commonsense/test.tsv"}, _ATOMIC2020, _COLUMNS),
        expand_by_people,
        {"test": ("test", _of_known_relation)},
    )


TASKS = {
    task.name: task
    for task in (
        PublishedTask(
            "commonsense",
            "Tails of ATOMIC10x with a critic's probability that they are valid.",
            _source,
        ),
        PublishedTask(
            "atomic2020",
            "Tails of ATOMIC2020's test that people wrote, each a thumb up.",
            _by_people,
            {"reward_kind": "thumbs"},
        ),
    )
}
for _task in TASKS.values():
    _task.register()


def commonsense_task(
    task: str = "commonsense", critic: Reward | None = None, **settings: Any
) -> str:
    """The name of one of these tasks with a run's settings.

    Args:
      task: `commonsense` or `atomic2020`.
      critic: of `dro_jax.rewards`, as :class:`CommonsenseCritic`: chooses what
        `commonsense` is tested with; None, it has no split `test`.
      **settings: those of `dro_jax.tasks.published.task_of_run`.

    Raises:
      ConfigError: as there.
    """
    options = None if critic is None else {"critic": critic}
    return task_of_run(TASKS, "commonsense_task", task, options, **settings)
