"""Tasks, metrics, runs and reports; knows protocols, never a concrete model or framework."""
