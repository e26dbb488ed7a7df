"""Point clouds and their rendering."""
