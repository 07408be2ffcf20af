"""`dro-jax score`."""

from collections.abc import Iterator

import jax

from dro_jax.cli.restored import restore
from dro_jax.cli.result_fields import ResultFields
from dro_jax.data.inputs import as_inputs, input_batches, read_raw
from dro_jax.evaluation.generation import check_numbers
from dro_jax.plurals import counted
from dro_jax.training.mesh_steps import device_fields

_LOGPROB, _VALUE = "logprob", "value"


def run(arguments) -> None:
    """Score the responses of a file."""
    output = arguments.output
    output.check_holds_records(arguments.input)
    fields = ResultFields([_LOGPROB, _VALUE], arguments.rename_field)
    records = read_raw(arguments.input)
    fields.check_free(records, _LOGPROB)
    restored = restore(arguments)
    if restored.model.value_config is not None:
        fields.check_free(records, _VALUE)
    inputs = as_inputs(restored.task, records, responses=True)
    batches = list(
        input_batches(restored.task, inputs, restored.lengths, arguments.batch_size)
    )
    count = output.write_records(
        fields.added_to(item.fields, scores)
        for item, scores in zip(inputs, _scores(restored, batches), strict=False)
    )
    cut = sum(int((batch["truncated"] > 0).sum()) for batch in batches)
    print(
        f"{counted(count, 'response')} scored: {output.name}"
        + (
            f" ({cut} had a prompt or response cut to {restored.lengths})"
            if cut
            else ""
        )
    )


def _scores(restored, batches) -> Iterator[dict[str, float]]:
    """Those of each row; last come those of the rows that fill the last batch."""
    score = jax.jit(restored.model.score)
    for batch in batches:
        scores = jax.device_get(score(restored.params, device_fields(batch)))
        named = {_LOGPROB: scores["logprobs"][:, 0]}
        if "values" in scores:
            named[_VALUE] = scores["values"][:, 0]
        check_numbers(*named.values())
        for row in zip(*named.values(), strict=True):
            yield dict(zip(named, map(float, row), strict=True))
