"""A generator of bad inputs: every input of every node, from `/object_info`, on the real server."""
