"""Camera files, read and written."""
