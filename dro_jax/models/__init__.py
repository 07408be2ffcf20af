"""Networks and the model: from a batch of tokens to the trajectories of an objective."""
