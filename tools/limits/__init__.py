"""What GGA limited in blocks and steps changes, on the pocket model."""
