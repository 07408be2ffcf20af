"""Jobs on many machines: this one's processes, SLURM, GKE, TPU VMs."""
