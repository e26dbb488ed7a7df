"""Which takes are fit to train on: checks of their images, texts and poses, and a report to look at."""
