"""Query perturbations, for training and for evaluation."""
