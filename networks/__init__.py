"""Networks that run beside the video model: pure torch, weights from local folders only."""
