"""`dro-jax generate`."""

from dro_jax.cli.restored import restore, write_jsonl
from dro_jax.data.inputs import input_batches, read_inputs
from dro_jax.evaluation.generation import generate, response_text
from dro_jax.models.decoding import DecodingConfig


def run(arguments) -> None:
    """Answer the prompts of a file."""
    restored = restore(arguments)
    task = restored.task
    config = DecodingConfig(
        max_decode_length=arguments.max_decode_length or restored.lengths["targets"],
        num_samples=arguments.num_samples,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        beams=arguments.beams,
        alpha=arguments.alpha,
        seed=arguments.seed,
    )
    inputs = read_inputs(task, arguments.input, responses=False)
    batches = input_batches(task, inputs, restored.lengths, arguments.batch_size)
    count = write_jsonl(
        arguments.output, _records(restored, inputs, batches, config)
    )
    print(f"{count} prompts answered: {arguments.output}")


def _records(restored, inputs, batches, config):
    remaining = iter(inputs)
    vocabulary = restored.task.vocabulary
    for _, decoded in generate(
        restored.model, restored.params, batches, config, vocabulary.eos_id
    ):
        # The last batch's filling rows come last, and find no input left.
        for tokens, logprobs, item in zip(
            decoded.tokens, decoded.logprobs, remaining, strict=False
        ):
            responses = [
                {"response": response_text(vocabulary, row), "logprob": float(logprob)}
                for row, logprob in zip(tokens, logprobs, strict=True)
            ]
            yield {**item.fields, "responses": responses}
