"""PyTorch: graphs as torch.fx modules for training, and as steps for streaming."""
