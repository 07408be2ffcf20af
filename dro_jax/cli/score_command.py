"""`dro-jax score`."""

import jax

from dro_jax.cli.restored import restore, write_jsonl
from dro_jax.data.inputs import input_batches, read_inputs
from dro_jax.training.mesh_steps import device_fields


def run(arguments) -> None:
    """Score the responses of a file."""
    restored = restore(arguments)
    inputs = read_inputs(restored.task, arguments.input, responses=True)
    batches = list(
        input_batches(restored.task, inputs, restored.lengths, arguments.batch_size)
    )
    count = write_jsonl(arguments.output, _records(restored, inputs, batches))
    cut = sum(int((batch["truncated"] > 0).sum()) for batch in batches)
    print(
        f"{count} responses scored: {arguments.output}"
        + (f" ({cut} had a prompt or response cut to {restored.lengths})" if cut else "")
    )


def _records(restored, inputs, batches):
    score = jax.jit(restored.model.score)
    remaining = iter(inputs)
    for batch in batches:
        scores = jax.device_get(score(restored.params, device_fields(batch)))
        logprobs, values = scores["logprobs"], scores.get("values")
        for row, item in zip(range(len(logprobs)), remaining, strict=False):
            record = {**item.fields, "logprob": float(logprobs[row, 0])}
            if values is not None:
                record["value"] = float(values[row, 0])
            yield record
