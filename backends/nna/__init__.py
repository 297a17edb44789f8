"""The integer program of an 8-bit neural network accelerator: what it is, and what it computes."""
