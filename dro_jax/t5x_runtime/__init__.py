"""What runs under T5X beside the model: data, the start, the task's vocabulary."""
