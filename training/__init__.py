"""Manifests, batching, augmentation, losses, trainers and evaluation."""
