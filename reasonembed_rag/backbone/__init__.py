"""A transformer as tokens to states, shared by the encoder, training and memory."""
