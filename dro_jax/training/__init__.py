"""Training: what a run is made of, from its settings to its last checkpoint."""
