"""Training data: rows, tables, sampling, batches, mining."""
