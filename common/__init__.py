"""What every floor may use: Wan's grid, looking at files, texts, memory, cancelling. The standard library alone."""
