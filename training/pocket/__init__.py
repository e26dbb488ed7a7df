"""The pocket model: a Wan-shaped model that is trained from nothing on random rooms."""
