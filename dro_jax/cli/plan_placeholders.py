"""What a run needs, and a plan does not: it reads no data and writes nothing."""

from collections.abc import Mapping

# Names of gin files, and values for them that nobody uses.
PLACEHOLDERS: Mapping[str, str] = {
    "MODEL_DIR": "'not_used'",
    "TRAIN_STEPS": "1000",
    "MIXTURE_OR_TASK_NAME": "'not_read'",
    "MIXTURE_OR_TASK_MODULE": "None",
    "INITIAL_CHECKPOINT_PATH": "None",
    "TRAIN_PATH": "'not_read'",
    "VALIDATION_PATH": "None",
    "VOCABULARY": "'byte'",
    "REWARD": "None",
    "REDDIT_SHARE": "1.0",
    "SAFETY_CLASSIFIER": "'not_read'",
    "SAFE_LABEL": "0",
}
