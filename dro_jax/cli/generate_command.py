"""`dro-jax generate`."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

from dro_jax.cli.model_inputs import ModelInputs
from dro_jax.cli.restored import restore
from dro_jax.cli.result_fields import ResultFields
from dro_jax.evaluation.generation import check_numbers, generate, response_text
from dro_jax.messages import is_first
from dro_jax.models.decoding import Decoded, DecodingConfig
from dro_jax.plurals import counted

_RESPONSES = "responses"


def run(arguments) -> None:
    """Answer the prompts of a file."""
    config = _decoding(arguments)
    inputs = ModelInputs(arguments, ResultFields([_RESPONSES], arguments.rename_field))
    inputs.check_free(_RESPONSES)
    restored = restore(arguments)
    if config.max_decode_length is None:
        length = restored.lengths["targets"]
        config = dataclasses.replace(config, max_decode_length=length)
    batches, shard = inputs.batches(restored, responses=False)
    vocabulary = restored.task.vocabulary
    decoded = generate(
        restored.model,
        restored.params,
        batches,
        config,
        restored.mesh,
        shard=shard,
        eos_id=vocabulary.eos_id,
    )
    count = inputs.write(_responses(vocabulary, (found for _, found in decoded)))
    print(f"{counted(count, 'prompt')} answered: {arguments.output.name}")


def _decoding(arguments) -> DecodingConfig:
    fields = (field.name for field in dataclasses.fields(DecodingConfig))
    return DecodingConfig(**{name: getattr(arguments, name) for name in fields})


def _responses(vocabulary, batches: Iterable[Decoded]) -> Iterator[dict[str, Any]]:
    """Those to each prompt; last come those to the rows that fill the last batch."""
    for decoded in batches:
        check_numbers(decoded.logprobs)
        if not is_first():
            continue
        for tokens, logprobs in zip(decoded.tokens, decoded.logprobs, strict=True):
            # A place that a search could not fill has a log-probability of −∞.
            found = [
                {"response": response_text(vocabulary, row), "logprob": float(logprob)}
                for row, logprob in zip(tokens, logprobs, strict=True)
                if math.isfinite(logprob)
            ]
            yield {_RESPONSES: found}
