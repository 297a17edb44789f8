"""The accelerator's integers in PyTorch, with gradients to train by."""
