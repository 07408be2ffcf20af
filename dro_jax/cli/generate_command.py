"""`dro-jax generate`."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from dro_jax.cli.restored import restore
from dro_jax.cli.result_fields import ResultFields
from dro_jax.data.inputs import as_inputs, input_batches, read_raw
from dro_jax.evaluation.generation import check_numbers, generate, response_text
from dro_jax.models.decoding import DecodingConfig
from dro_jax.plurals import counted

_RESPONSES = "responses"


def run(arguments) -> None:
    """Answer the prompts of a file."""
    config = _decoding(arguments)
    output = arguments.output
    output.check_holds_records(arguments.input)
    fields = ResultFields([_RESPONSES], arguments.rename_field)
    records = read_raw(arguments.input)
    fields.check_free(records, _RESPONSES)
    restored = restore(arguments)
    if config.max_decode_length is None:
        length = restored.lengths["targets"]
        config = dataclasses.replace(config, max_decode_length=length)
    inputs = as_inputs(restored.task, records, responses=False)
    batches = input_batches(
        restored.task, inputs, restored.lengths, arguments.batch_size
    )
    answered = zip(inputs, _responses(restored, batches, config), strict=False)
    count = output.write_records(
        fields.added_to(item.fields, {_RESPONSES: responses})
        for item, responses in answered
    )
    print(f"{counted(count, 'prompt')} answered: {output.name}")


def _decoding(arguments) -> DecodingConfig:
    fields = (field.name for field in dataclasses.fields(DecodingConfig))
    return DecodingConfig(**{name: getattr(arguments, name) for name in fields})


def _responses(restored, batches, config) -> Iterator[list[dict[str, Any]]]:
    """Those to each prompt; last come those to the rows that fill the last batch."""
    vocabulary = restored.task.vocabulary
    for _, decoded in generate(
        restored.model, restored.params, batches, config, vocabulary.eos_id
    ):
        check_numbers(decoded.logprobs)
        for tokens, logprobs in zip(decoded.tokens, decoded.logprobs, strict=True):
            # A place that a search could not fill has a log-probability of −∞.
            yield [
                {"response": response_text(vocabulary, row), "logprob": float(logprob)}
                for row, logprob in zip(tokens, logprobs, strict=True)
                if math.isfinite(logprob)
            ]
