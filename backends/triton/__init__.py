"""The fast path: lowered models with Triton kernels in the place of PyTorch's operators."""
