"""Names of what a run of a reward model leaves; light, for who lists a run's files."""

FOLDER, SETTINGS = "reward_model", "settings.json"
