"""`make demo`: the whole graph once, measured."""
