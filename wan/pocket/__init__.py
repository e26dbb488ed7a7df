"""The pocket model: a small EgoX of our own, trained on random rooms."""
