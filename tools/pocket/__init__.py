"""The pocket model, made from nothing."""
