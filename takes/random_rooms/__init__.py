"""Rooms of the example room's family, any number of them: what a small model can be trained on."""
