"""How many threads compute, in PyTorch and in NumPy."""

from __future__ import annotations


def use_threads(count: int) -> None:
    """From here on, in this process. NumPy's own library is asked too, where that can be done."""
    import torch

    torch.set_num_threads(count)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with the extra [nna], which is what computes in NumPy
        return
    threadpool_limits(count, user_api="blas")
