"""What exo reuse costs in quality, on the pocket model."""
