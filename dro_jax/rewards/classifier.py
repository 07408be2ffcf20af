"""Scores of any sequence classifier of Hugging Face."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.messages import note
from dro_jax.plurals import counted
from dro_jax.rewards.cached import Keep, keep_nothing
from dro_jax.rewards.classifier_process import ClassifierProcess
from dro_jax.rewards.classifier_worker import CHAT, PAIR
from dro_jax.rewards.fingerprints import fingerprint, of_files
from dro_jax.rewards.interface import Scores

LOGIT, PROBABILITY, LOG_ODDS = "logit", "probability", "log_odds"
_OUTPUTS = (LOGIT, PROBABILITY, LOG_ODDS)
_DTYPES = ("float32", "bfloat16", "float16")
_WEIGHTS = "*.safetensors"
_TOKENIZER = ("*.txt", "*.model", "*.jinja")
_FILES = ("*.json", _WEIGHTS, *_TOKENIZER)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A network of transformers that gives each label of a text a logit.

    With z the logits, and one label y, softmax over labels where a text has one of
    them:

      logit z_y,   probability p_y = exp(z_y) / Σ exp(z),   log_odds ln p_y/(1 − p_y);

    the sigmoid of z_y, where there is one label or each holds by itself.

    It runs in a process of its own, which is started by the first call and ends with
    this one. Weights are read as safetensors alone, and no code of a model's is run.

    Attributes:
      path: a folder, or a name on the hub.
      label: which is scored, by name or number; None, the only one.
      output: `logit`, `probability` or `log_odds`.
      template: how prompt and response are joined: `pair`, as two texts, by the
        tokenizer; `chat`, as a user's and an assistant's turn, by its chat template;
        or a text with {prompt} and, once, {response}.
      all_labels: whether the probability of each label is a part.
      max_length: in tokens, of which the last are kept; None, what the model takes.
      batch_size: responses at a time, those of like lengths together.
      device: as torch calls it; None, a GPU if there is one.
      dtype: of the network's numbers: `float32`, `bfloat16` or `float16`.
      name: what tables call it.

    Raises:
      ConfigError: a setting cannot be used, or torch or transformers is missing.
      CheckpointError (when called): the folder holds no classifier that can be read.
    """

    path: str
    label: str | int | None = None
    output: str = LOGIT
    template: str = PAIR
    all_labels: bool = False
    max_length: int | None = None
    batch_size: int = 16
    device: str | None = None
    dtype: str = "float32"
    name: str = "classifier"

    def __post_init__(self):
        for field, known in (("output", _OUTPUTS), ("dtype", _DTYPES)):
            if getattr(self, field) not in known:
                raise ConfigError(
                    f"Classifier.{field} = {getattr(self, field)!r}: give "
                    + ", ".join(map(repr, known))
                )
        if self.template not in (PAIR, CHAT) and self.template.count("{response}") != 1:
            raise ConfigError(
                f"Classifier.template = {self.template!r}: give 'pair', 'chat', or a text "
                "with {prompt} and, once, {response}"
            )
        for field in ("batch_size", "max_length"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ConfigError(f"Classifier.{field} = {value}: give 1 or more")

    @property
    def fingerprint(self) -> str:
        folder = self._folder()
        settings = [self.label, self.output, self.template, self.all_labels]
        return fingerprint(
            "Classifier", _digest(folder), settings, self.max_length, self.dtype
        )

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        return self.score(prompts, responses, keep_nothing)

    def score(
        self, prompts: Sequence[str], responses: Sequence[str], keep: Keep
    ) -> Scores:
        """The scores; `keep` is given each batch's."""
        total, parts = np.empty(len(responses)), {}
        if not len(responses):
            return Scores(total)
        process = self._process()
        pairs = list(zip(prompts, responses, strict=True))
        # The longest first: where memory does not suffice, that is known at once.
        order = sorted(range(len(pairs)), key=lambda row: -sum(map(len, pairs[row])))
        num_cut = 0
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            logits, cut = process.logits([pairs[row] for row in rows])
            scores = self._scores(logits, process)
            keep(rows, scores)
            total[rows] = scores.total
            for part, numbers in scores.parts.items():
                parts.setdefault(part, np.empty(len(pairs)))[rows] = numbers
            num_cut += sum(cut)
        if num_cut:
            note(
                f"{self.name}: {num_cut} of {counted(len(pairs), 'text')} had more than "
                f"{process.max_length} tokens, and were cut at their beginnings"
            )
        return Scores(total, parts)

    def _scores(self, logits: np.ndarray, process: ClassifierProcess) -> Scores:
        index = label_index(process.labels, self.label, self.path)
        separate = process.each_by_itself or len(process.labels) == 1
        parts = {}
        if self.all_labels:
            parts = {
                label: label_scores(logits, n, PROBABILITY, separate)
                for n, label in enumerate(process.labels)
            }
        return Scores(label_scores(logits, index, self.output, separate), parts)

    def _process(self) -> ClassifierProcess:
        process = _running(
            str(self._folder()),
            self.template,
            self.max_length,
            self.device,
            self.dtype,
        )
        label_index(process.labels, self.label, self.path)
        if self.template == CHAT and not process.chat:
            raise ConfigError(
                f"the tokenizer of {self.path} has no chat template: give "
                "Classifier.template = 'pair', or a text with {prompt} and {response}"
            )
        return process

    def _folder(self) -> pathlib.Path:
        return _checked_folder(self.path)


def label_scores(
    logits: np.ndarray, index: int, output: str, separate: bool
) -> np.ndarray:
    """``[N]`` scores of one label, from ``[N, labels]`` logits.

    Args:
      logits: float64.
      index: of the label.
      output: as of :class:`Classifier`.
      separate: whether each label holds or does not by itself, beside the others.
    """
    own = logits[:, index]
    if output == LOGIT:
        return own
    if not separate:
        # ln p/(1 − p) = z_y − ln Σ_{other} exp(z): no difference of near numbers.
        own = own - np.logaddexp.reduce(np.delete(logits, index, axis=1), axis=1)
    if output == LOG_ODDS:
        return own
    return np.exp(-np.logaddexp(0.0, -own))


def label_index(labels: Sequence[str], label: str | int | None, path: str) -> int:
    """The place of a label, given by name or number.

    Raises:
      ConfigError: there is no such label, or several and none is given.
    """
    named = ", ".join(f"{n} ({label})" for n, label in enumerate(labels))
    if label is None:
        if len(labels) > 1:
            raise ConfigError(
                f"{path} has several labels: say which is good by Classifier.label "
                f"(--gin.CLASSIFIER_LABEL=…), one of {named}"
            )
        return 0
    if isinstance(label, str) and label in labels:
        return labels.index(label)
    number = int(label) if str(label).isdecimal() else -1
    if not 0 <= number < len(labels):
        raise ConfigError(f"{path} has no label {label!r}, but {named}")
    return number


@functools.lru_cache(maxsize=4)
def _running(*settings: Any) -> ClassifierProcess:
    return ClassifierProcess(*settings)


@functools.lru_cache(maxsize=4)
def _checked_folder(path: str) -> pathlib.Path:
    """A local folder with a whole classifier in safetensors."""
    # Imported late: safetensors and its like are for who has a classifier.
    from dro_jax.interop import hub
    from dro_jax.interop.foreign_models import check_no_foreign_folder
    from dro_jax.interop.hugging_face_files import read_json, stored_tensors
    from dro_jax.paths import expanded

    def check(folder: pathlib.Path) -> None:
        check_no_foreign_folder(folder)
        settings = read_json(folder / "config.json")
        if settings.get("auto_map"):
            raise CheckpointError(
                f"{path} is a model whose code lies beside it, which is not run: take "
                "one that transformers itself knows"
            )

    folder = pathlib.Path(expanded(path))
    if not folder.is_dir():
        if not hub.is_hub_name(path):
            raise CheckpointError(f"there is no folder {path} of a classifier")
        folder = hub.from_hub(path, check, [_WEIGHTS, *_TOKENIZER], "classifier")
    check(folder)
    stored_tensors(folder, "AutoModelForSequenceClassification")
    return folder.resolve()


def _digest(folder: pathlib.Path) -> str:
    found = sorted({path for pattern in _FILES for path in folder.glob(pattern)})
    seen = [
        (path.name, (stat := os.stat(path)).st_size, stat.st_mtime_ns) for path in found
    ]
    return _digest_of_files(folder, tuple(seen))


@functools.lru_cache(maxsize=16)
def _digest_of_files(folder: pathlib.Path, seen: tuple) -> str:
    # Read anew where a size or a time is another: it takes a second for each gigabyte.
    return of_files(folder, [name for name, *_ in seen])
