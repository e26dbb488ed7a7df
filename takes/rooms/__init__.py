"""Rooms of solid shapes with a figure at work in them, rendered exactly: what the example take and training draw on."""
