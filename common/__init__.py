"""What every floor may use: Wan's grid, messages, whole files, memory, cancelling. The standard library alone."""
