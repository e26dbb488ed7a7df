"""What every floor may use: Wan's grid, words of messages, whole files. The standard library alone."""
