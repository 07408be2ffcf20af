"""`dro-jax generate`."""

import dataclasses
from collections.abc import Iterable, Iterator

from dro_jax.cli.model_inputs import BatchResults, ModelInputs
from dro_jax.cli.restored import restore
from dro_jax.cli.result_fields import ResultFields
from dro_jax.cli.sampling_flags import decoding_of
from dro_jax.evaluation.generation import check_numbers, generate
from dro_jax.evaluation.sampled_prompts import samples_of
from dro_jax.messages import is_first
from dro_jax.models.decoding import Decoded
from dro_jax.plurals import counted

_RESPONSES = "responses"


def run(arguments) -> None:
    """Answer the prompts of a file."""
    config = decoding_of(arguments)
    inputs = ModelInputs(arguments, ResultFields([_RESPONSES], arguments.rename_field))
    inputs.check_free(_RESPONSES)
    restored = restore(arguments)
    config = config.limited_to(restored.lengths["targets"])
    batches, shard = inputs.prompts(
        restored, dataclasses.asdict(config), config.joined_batches
    )
    vocabulary = restored.task.vocabulary
    decoded = generate(
        restored.model,
        restored.params,
        batches,
        config,
        restored.mesh,
        shard=shard,
        eos_id=vocabulary.eos_id,
        prompts_at_once=restored.mesh.num_rows(arguments.batch_size),
    )
    results = _responses(vocabulary, (found for _, found in decoded))
    count = inputs.write(results, "generate", "responses", config.num_samples)
    print(f"{counted(count, 'prompt')} answered: {arguments.output.name}")


def _responses(vocabulary, batches: Iterable[Decoded]) -> Iterator[BatchResults]:
    """Those to the prompts of each batch, with those to the rows that fill it up."""
    for decoded in batches:
        check_numbers(decoded.logprobs)
        rows = []
        if is_first():
            of_rows = samples_of(decoded, vocabulary.eos_id, len(decoded.tokens))
            rows = [
                {
                    _RESPONSES: [
                        {"response": one.text(vocabulary), "logprob": one.logprob}
                        for one in samples
                    ]
                }
                for samples in of_rows
            ]
        yield rows, {"tokens": int(decoded.lengths.sum())}
