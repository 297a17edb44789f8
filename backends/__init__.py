"""Backends: a graph in, something that runs out."""
