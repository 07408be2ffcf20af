"""`dro-jax score`."""

from collections.abc import Iterator

from dro_jax.cli.model_inputs import BatchResults, ModelInputs
from dro_jax.cli.restored import restore
from dro_jax.cli.result_fields import ResultFields
from dro_jax.evaluation.generation import check_numbers, score
from dro_jax.plurals import counted

_LOGPROB, _VALUE = "logprob", "value"


def run(arguments) -> None:
    """Score the responses of a file."""
    fields = ResultFields([_LOGPROB, _VALUE], arguments.rename_field)
    inputs = ModelInputs(arguments, fields)
    inputs.check_free(_LOGPROB)
    restored = restore(arguments, value=True)
    if restored.model.value_config is not None:
        inputs.check_free(_VALUE)
    batches, shard = inputs.pairs(restored)
    scores = _Scores(
        found
        for _, found in score(
            restored.model, restored.params, batches, restored.mesh, shard=shard
        )
    )
    count = inputs.write(scores, "score", "responses")
    cut = ""
    if scores.num_cut:
        now = "" if not inputs.num_kept else f" of {count - inputs.num_kept} scored now"
        cut = (
            f" ({scores.num_cut}{now} had a prompt or response cut to "
            f"{restored.lengths})"
        )
    print(f"{counted(count, 'response')} scored: {arguments.output.name}{cut}")


class _Scores:
    """Those of each batch's rows, with those that fill it up.

    Attributes:
      num_cut: of how many a prompt or response was cut, so far.
    """

    def __init__(self, batches):
        self._batches = batches
        self.num_cut = 0

    def __iter__(self) -> Iterator[BatchResults]:
        for scores in self._batches:
            self.num_cut += int((scores["truncated"] > 0).sum())
            named = {_LOGPROB: scores["logprobs"][:, 0]}
            if "values" in scores:
                named[_VALUE] = scores["values"][:, 0]
            check_numbers(*named.values())
            rows = zip(*named.values(), strict=True)
            yield [dict(zip(named, map(float, row), strict=True)) for row in rows], {}
