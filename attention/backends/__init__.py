"""Who computes the biased attention."""
