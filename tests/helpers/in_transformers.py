"""What transformers makes of a folder, told by a process of its own.

torch and TensorFlow cannot both be loaded into one process (torch 2.13 on Linux ends in a
segmentation fault where TensorFlow 2.21 came first), so tests call :func:`ask`.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

SIZES = {
    "vocab_size": 384,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "initializer_factor": 2.0,
}


def needs(*packages):
    """Skips a test where a package is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"not installed: {', '.join(missing)} (extra hf-test)"
    )


def ask(function, **arguments):
    """The answer of a function of this file, called in a new process."""
    paths = {k: str(v) for k, v in arguments.items() if isinstance(v, pathlib.Path)}
    done = subprocess.run(
        [sys.executable, __file__, function, json.dumps(arguments | paths)],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        check=False,  # what it printed tells more
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def make(kind, folder, untied):
    """Saves a random model of `SIZES`."""
    import torch
    import transformers

    config = getattr(transformers, f"{kind}Config")(**SIZES)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config)
    if untied:
        head = torch.randn(model.lm_head.weight.shape) * 0.3
        model.lm_head.weight = torch.nn.Parameter(head)
    else:
        # A tied model repeats its input unless its layers add more than they are given.
        model.shared.weight.data.mul_(0.15)
    model.save_pretrained(folder)


def save_again(folder, new_folder):
    """Loads a model and saves it."""
    import transformers

    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    model.save_pretrained(new_folder)


def compute(folder, prompts, inputs, steps):
    """Logits, greedy tokens without the start token, and whatever loading found amiss."""
    import io
    import logging

    import torch
    import transformers

    warned = io.StringIO()
    logging.getLogger("transformers").addHandler(logging.StreamHandler(warned))
    model, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        folder, output_loading_info=True
    )
    tokens = torch.tensor(prompts)
    told = warned.getvalue().splitlines()  # by loading; generate() has its own
    asked = {"input_ids": tokens, "attention_mask": (tokens > 0).long()}
    with torch.no_grad():
        logits = model.eval()(**asked, decoder_input_ids=torch.tensor(inputs)).logits
        decoded = model.generate(
            **asked,
            max_new_tokens=steps,
            do_sample=False,
            num_beams=1,
            suppress_tokens=[0],  # as ours, which never answers with padding
        )
    return {
        "logits": logits.tolist(),
        "decoded": decoded[:, 1:].tolist(),
        "warnings": told,
        "problems": {name: list(map(str, keys)) for name, keys in info.items() if keys},
    }


def encoder_states(folder, prompts):
    """The last states of `T5EncoderModel`."""
    import torch
    import transformers

    model = transformers.T5EncoderModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(torch.tensor(prompts)).last_hidden_state.tolist()


def answers(folder, prompts, steps):
    """Greedy answers to texts, as texts."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    with torch.no_grad():
        tokens = model.generate(
            **batch,
            max_new_tokens=steps,
            do_sample=False,
            num_beams=1,
            suppress_tokens=[0],
        )
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)


def tokenize(folder, texts, tokens, ids, save_to=None):
    """Ids of texts and of tokens, the text of ids, and the size; may save it anew."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if save_to is not None:
        tokenizer.save_pretrained(save_to)
    return {
        "texts": [list(tokenizer(text).input_ids) for text in texts],
        "tokens": tokenizer.convert_tokens_to_ids(tokens),
        "decoded": tokenizer.decode(ids),
        "size": len(tokenizer),
    }


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
