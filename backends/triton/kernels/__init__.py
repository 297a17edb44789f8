"""Triton kernels, one file each, with the function that launches it and its PyTorch reference.

Importing one imports triton, which is the extra `asrc[triton]`. Without a GPU, `TRITON_INTERPRET=1`
in the environment before the first import runs them on the CPU, slowly.
"""
