"""A classifier of transformers, in a process of its own: `python -m` this module.

torch and TensorFlow, which feeds the data of all else here, cannot share a process:
torch 2.13 ends in a segmentation fault where TensorFlow 2.21 was loaded first. This one
imports torch alone. It reads a line of JSON with the model's settings, answers with
what the model is, and then answers each line of texts with a line of logits.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

PAIR, CHAT = "pair", "chat"
_NO_LIMIT = 1_000_000  # what tokenizers say that know none


class _Model:
    """A tokenizer and a network.

    Args:
      folder: of `save_pretrained`, with safetensors.
      template: `pair`, `chat`, or a text with {prompt} and {response}.
      max_length: in tokens; None, what tokenizer and network take.
      device, dtype: as torch calls them; no device, a GPU if there is one.
    """

    def __init__(
        self,
        folder: str,
        template: str,
        max_length: int | None,
        device: str | None,
        dtype: str,
    ):
        import torch
        import transformers

        own = {"local_files_only": True, "trust_remote_code": False}
        self._torch, self._template = torch, template
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **own)
        # What comes last is the response, which is kept.
        self._tokenizer.truncation_side = "left"
        kind = transformers.AutoModelForSequenceClassification
        self._model, info = kind.from_pretrained(
            folder,
            use_safetensors=True,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
            **own,
        )
        self._missing = sorted(map(str, info["missing_keys"]))
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device).eval()
        config = self._model.config
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        if config.pad_token_id is None:
            config.pad_token_id = self._tokenizer.pad_token_id
        self._max_length = max_length or self._limit(config)

    def description(self) -> dict[str, Any]:
        """What there is to know before anything is scored."""
        config = self._model.config
        return {
            "labels": [config.id2label[n] for n in range(config.num_labels)],
            "each_by_itself": config.problem_type == "multi_label_classification",
            "missing": self._missing,
            "max_length": self._max_length,
            "chat": bool(self._tokenizer.chat_template),
            "device": str(self._device),
        }

    def logits(self, pairs: Sequence[Sequence[str]]) -> dict[str, Any]:
        """`[N, labels]`, and of which the beginning was cut."""
        encoded, cut = [], []
        for prompt, response in pairs:
            whole = self._encoded(prompt, response, None)
            long = len(whole["input_ids"]) > self._max_length
            fits = self._encoded(prompt, response, self._max_length) if long else whole
            encoded.append(fits)
            cut.append(long)
        batch = self._tokenizer.pad(encoded, return_tensors="pt").to(self._device)
        with self._torch.inference_mode():
            found = self._model(**batch).logits
        return {"logits": found.double().cpu().tolist(), "cut": cut}

    def _encoded(self, prompt: str, response: str, limit: int | None):
        how = {"truncation": limit is not None, "max_length": limit}
        if self._template == PAIR:
            return self._tokenizer(prompt, response, **how)
        if self._template == CHAT:
            turns = [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": response},
            ]
            text = self._tokenizer.apply_chat_template(turns, tokenize=False)
            # The template has written the tokens that stand at begin and end.
            return self._tokenizer(text, add_special_tokens=False, **how)
        # At once: a prompt may itself hold the word {response}.
        before, after = self._template.split("{response}")
        text = before.replace("{prompt}", prompt) + response
        return self._tokenizer(text + after.replace("{prompt}", prompt), **how)

    def _limit(self, config: Any) -> int:
        known = [self._tokenizer.model_max_length]
        # RoBERTa counts positions from behind the padding's.
        places = getattr(config, "max_position_embeddings", None)
        if places:
            offset = config.pad_token_id + 1 if "roberta" in config.model_type else 0
            known.append(places - offset)
        limit = min(known)
        return limit if limit < _NO_LIMIT else 512


def main() -> None:
    """Answers lines until there are no more."""
    # What libraries print is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        model = _Model(**json.loads(sys.stdin.readline()))
        say(model.description())
        for line in sys.stdin:
            say(model.logits(json.loads(line)))
    except Exception as error:  # noqa: BLE001, told to who asked
        say({"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]})


if __name__ == "__main__":
    main()
