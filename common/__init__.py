"""What every floor may use: Wan's grid, looking at files, whole files, texts. The standard library alone."""
