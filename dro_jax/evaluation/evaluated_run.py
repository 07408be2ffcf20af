"""An evaluation of one run, as it lies in the run's folder for who compares it.

`RUN/evaluations/NAME/` holds `settings.json`, what was asked for and of which checkpoint;
`responses.jsonl`, a line for each sampled response; and `evaluation.json`, the figures.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Self

from dro_jax.errors import DataError
from dro_jax.whole_files import write_json, write_whole

FOLDER = "evaluations"
# Within a run's evaluation, that of a reference which has no folder of its own.
REFERENCE = "reference"
SETTINGS, RESPONSES, EVALUATION = "settings.json", "responses.jsonl", "evaluation.json"


@dataclasses.dataclass(frozen=True)
class SampledResponse:
    """One response that a policy gave, with all that was computed of it.

    Attributes:
      prompt_id: of the record, 16 hexadecimal digits: the same in every run, so that
        responses to one prompt are found in several.
      sample: its number among the responses to that prompt, from 0.
      prompt: the text as the model read it, before it was cut to tokens.
      response: the text.
      tokens: its length in tokens, EOS included where there is one.
      cut: whether it ended at the length limit, without EOS.
      logprob: log π(y|x), summed over its tokens, nats; None where no policy gave it.
      reference_logprob: log π_ref(y|x), nats; None without a reference.
      rewards: by the reward's name, its total.
      reward_parts: by the reward's name, its parts by their names.
      references: what was logged for the prompt, to compare the text with.
      value: V(x), where the model has a value estimate.
    """

    prompt_id: str
    sample: int
    prompt: str
    response: str
    tokens: int
    cut: bool
    logprob: float | None
    reference_logprob: float | None = None
    rewards: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reward_parts: Mapping[str, Mapping[str, float]] = dataclasses.field(
        default_factory=dict
    )
    references: tuple[str, ...] = ()
    value: float | None = None

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return not self.response.strip()


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
      value: the figure.
      low, high: its 95% interval, where it has one.
      standard_error: where it has one.
    """

    value: float
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None


@dataclasses.dataclass(frozen=True)
class WinRate:
    """How often one run's responses are better than another's, by one judge.

    Attributes:
      first, second: the runs' labels.
      judge: its name.
      win_rate: mean preference over answered pairs, (wins + ties/2) / answered where the
        judge gives no probabilities; with a bootstrap interval over prompts.
      wins, ties, losses: of the first, in pairs.
      unanswered: pairs on which the judge gave no verdict.
      length_controlled: the win rate at equal length, or None.
      pairs_digest: of the texts that were compared; None where nobody knows them.
      preferences: by prompt id, the mean preference over its answered pairs, for who
        compares on some of the prompts; empty where nobody kept it.
    """

    first: str
    second: str
    judge: str
    win_rate: Estimate
    wins: int
    ties: int
    losses: int
    unanswered: int = 0
    length_controlled: Estimate | None = None
    pairs_digest: str | None = None
    preferences: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As values of JSON, without what is known of single prompts."""
        values = dataclasses.asdict(self)
        del values["preferences"]
        return values


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """What is known of one run.

    Attributes:
      label: what tables call it.
      settings: what was asked for: task, split, decoding, rewards, checkpoint, …
      responses: in the order of prompts, the samples of one side by side.
      figures: by name, as `reward`, `reward/length`, `kl`, `distinct_2`: the names are
        those of `dro_jax.evaluation.figures`.
      tables: by name, further JSON: `value_calibration`, ….
    """

    label: str
    settings: Mapping[str, Any]
    responses: tuple[SampledResponse, ...]
    figures: Mapping[str, Estimate]
    tables: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def write(self, folder: pathlib.Path) -> None:
        """Write the three files, each whole; the figures last."""
        folder.mkdir(parents=True, exist_ok=True)
        # What is read has this file: never the new settings with other responses.
        (folder / EVALUATION).unlink(missing_ok=True)
        write_json(folder / SETTINGS, dict(self.settings))
        content = b"".join(map(as_line, self.responses))
        write_whole(folder / RESPONSES, lambda file: file.write(content))
        self.write_figures(folder)

    def write_figures(self, folder: pathlib.Path) -> None:
        """Write the figures alone, where the rest has been written."""
        write_json(folder / EVALUATION, self.measured())

    def measured(self) -> dict[str, Any]:
        """What is known of it but for the responses, as values that JSON holds."""
        figures = {name: dataclasses.asdict(x) for name, x in self.figures.items()}
        return {"label": self.label, "figures": figures, "tables": dict(self.tables)}

    @classmethod
    def read(cls, folder: pathlib.Path) -> Self:
        """What :meth:`write` wrote.

        Raises:
          DataError: a file is missing or damaged.
        """
        try:
            content = json.loads((folder / EVALUATION).read_text("utf-8"))
            return cls(
                label=content["label"],
                settings=json.loads((folder / SETTINGS).read_text("utf-8")),
                responses=_responses(folder / RESPONSES),
                figures={n: Estimate(**x) for n, x in content["figures"].items()},
                tables=content["tables"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{folder} holds no evaluation that can be read ({error}): run "
                "`dro-jax evaluate` again"
            ) from error


def as_line(response: SampledResponse) -> bytes:
    """A response as a line of JSON."""
    fields = dataclasses.asdict(response)
    try:
        return f"{json.dumps(fields, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return f"{json.dumps(fields)}\n".encode()


def of_line(line: bytes) -> SampledResponse:
    """What :func:`as_line` wrote.

    Raises:
      ValueError, KeyError, TypeError: it is damaged.
    """
    fields = json.loads(line)
    fields["references"] = tuple(fields["references"])
    return SampledResponse(**fields)


def _responses(path: pathlib.Path) -> tuple[SampledResponse, ...]:
    with path.open("rb") as lines:
        return tuple(map(of_line, lines))
