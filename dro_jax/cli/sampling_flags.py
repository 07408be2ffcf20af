"""The flags that say how responses are sampled, alike for all commands that do."""

import dataclasses


def add_sampling(parser) -> None:
    """Adds them."""
    parser.add_argument("--num_samples", type=int, default=1, help="for each prompt")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="0 decodes greedily"
    )
    parser.add_argument("--top_k", type=int, default=0, help="0: no limit")
    parser.add_argument("--top_p", type=float, default=0.0, help="0: no limit")
    parser.add_argument(
        "--max_decode_length", type=int, help="default: the task's response length"
    )
    parser.add_argument(
        "--batches_in_turn",
        type=int,
        default=8,
        help="of so many batches of like lengths the next prompts take the rows of "
        "responses that ended; 1: none do",
    )
    parser.add_argument(
        "--cache_dtype",
        choices=("float32", "bfloat16"),
        help="of cached keys and values; default: the model's activations'",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")


def decoding_of(arguments):
    """The `DecodingConfig` that the flags describe; those a command lacks stay unset.

    Raises:
      ConfigError: a setting is out of its range.
    """
    # Parsers are made without jax, which this takes.
    from dro_jax.models.decoding import DecodingConfig

    names = (field.name for field in dataclasses.fields(DecodingConfig))
    given = {n: getattr(arguments, n) for n in names if hasattr(arguments, n)}
    return DecodingConfig(**given)
