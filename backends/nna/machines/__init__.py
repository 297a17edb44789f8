"""Accelerators, a description file each."""
