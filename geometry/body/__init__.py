"""A person's body in the exo camera's axes: where it faces, walks and works, and how large it is."""
