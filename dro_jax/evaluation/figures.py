"""The figures of an evaluation: one table of what they are, and how they are computed."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from dro_jax.evaluation.evaluated_run import Estimate, SampledResponse
from dro_jax.evaluation.measures import measured


@dataclasses.dataclass(frozen=True)
class Figure:
    """What tables and pages say of a figure.

    Attributes:
      name: its key in `EvaluatedRun.figures`. A part in braces stands for a name
        of the user's, as `reward/{reward}`.
      title: of a column or an axis, without the unit.
      unit: what the numbers count, or "" for a pure number.
      higher_is_better: None where neither is better in itself.
      format: of its numbers, as ``format`` reads it.
      meaning: one sentence.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool | None
    format: str
    meaning: str


FIGURES = (
    Figure(
        "reward", "reward", "", True, ".3f",
        "Mean of the first reward over responses.",
    ),
    Figure(
        "reward/{reward}", "{reward}", "", True, ".3f",
        "Mean of this reward over responses.",
    ),
    Figure(
        "reward/{reward}/{part}", "{reward}: {part}", "", True, ".3f",
        "Mean of one part of this reward over responses.",
    ),
    Figure(
        "win_rate/{judge}", "win rate ({judge})", "", True, ".1%",
        "Share of prompts on which this judge prefers the response to the reference "
        "policy's, a tie counting half.",
    ),
    Figure(
        "length_controlled_win_rate/{judge}", "length-controlled win rate ({judge})",
        "", True, ".1%",
        "The win rate against the reference policy at equal length, by a logistic "
        "regression.",
    ),
    Figure(
        "kl", "KL to the reference", "nats", None, ".2f",
        "KL(π‖π_ref) of whole responses by samples: the mean of "
        "log π(y|x) − log π_ref(y|x).",
    ),
    Figure(
        "distinct_1", "distinct-1", "", True, ".3f",
        "Share of different words among all words of all responses.",
    ),
    Figure(
        "distinct_2", "distinct-2", "", True, ".3f",
        "Share of different word pairs among all word pairs of all responses.",
    ),
    Figure(
        "distinct_3", "distinct-3", "", True, ".3f",
        "Share of different word triples among all word triples of all responses.",
    ),
    Figure(
        "self_bleu", "self-BLEU", "", False, ".3f",
        "Mean BLEU, from 0 to 1, of a response against all others: high where they "
        "repeat each other.",
    ),
    Figure("length", "length", "words", None, ".1f", "Mean number of words."),
    Figure(
        "tokens", "tokens", "", None, ".1f",
        "Mean number of tokens, that of the end included.",
    ),
    Figure(
        "cut", "cut", "", False, ".1%",
        "Share of responses that ended at the length limit.",
    ),
    Figure("empty", "empty", "", False, ".1%", "Share of responses without a word."),
    Figure(
        "bleu", "BLEU", "of 100", True, ".1f",
        "Corpus BLEU against the logged responses to the prompt, by sacrebleu.",
    ),
    Figure(
        "rouge_l", "ROUGE-L", "", True, ".3f",
        "Mean F-measure of the longest common subsequence with the nearest logged "
        "response, by rouge-score.",
    ),
    Figure(
        "value/explained_variance", "V: explained variance", "", True, ".3f",
        "Share of the variance of the first reward that V(x) explains: "
        "1 − Var(r − V)/Var(r).",
    ),
    Figure(
        "value/correlation", "V: correlation", "", True, ".3f",
        "Pearson's correlation of V(x) with the first reward.",
    ),
    Figure(
        "value/bias", "V: bias", "", None, ".3f",
        "Mean of V(x) less the mean of the first reward.",
    ),
)  # fmt: skip


def figure(name: str) -> Figure:
    """What is said of a figure, the user's names put into its name and title.

    Args:
      name: as in `EvaluatedRun.figures`.

    Returns:
      Its row of `FIGURES`; for a name that no row has, one that says only the name.
    """
    row = _row(name)
    if row is None:
        return Figure(name, name, "", None, ".4g", "")
    title = row.title.format_map(_names(row.name, name))
    return dataclasses.replace(row, name=name, title=title)


def in_table_order(names: Iterable[str]) -> list[str]:
    """Names of figures in the order of `FIGURES`, those it has not last."""
    places = {row: place for place, row in enumerate(FIGURES)}
    return sorted(names, key=lambda name: places.get(_row(name), len(FIGURES)))


def shown(name: str, estimate: Estimate) -> str:
    """A figure as text, with its interval where it has one: `0.51 (0.48 to 0.54)`."""
    form = figure(name).format
    text = format(estimate.value, form)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} ({format(estimate.low, form)} to {format(estimate.high, form)})"


def figures_of(
    responses: Sequence[SampledResponse],
    *,
    sampled_from_policy: bool,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """All figures that can be computed of sampled responses.

    Means have a 95% bootstrap interval and a standard error over prompts: responses to
    one prompt are drawn together (:mod:`dro_jax.evaluation.intervals`). With one prompt
    they have neither.

    Args:
      responses: all of one evaluation.
      sampled_from_policy: whether they were sampled at temperature 1 from all tokens: KL
        by samples is unbiased for no others, and left out for them.
      num_resamples: of each bootstrap; 0 leaves intervals out.
      seed: of each bootstrap.

    Returns:
      Figures by the names of `FIGURES`, in that order; and tables: `omitted`, the reason
      for each figure that could have been expected and is not there; `with_references`,
      how many responses BLEU and ROUGE-L are of; and `value_calibration` where responses
      have values and rewards, as
      :func:`dro_jax.evaluation.value_calibration.calibration_table` gives it.

    Raises:
      DataError: there are no responses, they differ in which rewards and parts they
        have, or a number is not finite.
    """
    figures, tables = measured(
        responses,
        sampled_from_policy=sampled_from_policy,
        num_resamples=num_resamples,
        seed=seed,
    )
    return {name: figures[name] for name in in_table_order(figures)}, tables


def _row(name: str) -> Figure | None:
    # The longest pattern first: the last name of the user's may have a slash in it, but
    # `reward/help/tone` is a part of `help` and not a reward of that name.
    for row in sorted(FIGURES, key=lambda row: -row.name.count("/")):
        if _names(row.name, name) is not None:
            return row
    return None


def _names(pattern: str, name: str) -> dict[str, str] | None:
    """What the braces of a pattern stand for in a name; None where it is not of it."""
    parts = pattern.split("/")
    given = name.split("/", len(parts) - 1)
    if len(given) != len(parts):
        return None
    names = {}
    for part, word in zip(parts, given, strict=True):
        if part.startswith("{"):
            names[part[1:-1]] = word
        elif part != word:
            return None
    return names
