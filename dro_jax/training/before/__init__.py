"""What a run computes before its first step: of the reference, its value, its prompts."""
