"""What is made of the shipped templates: their API twins, and the blueprints of their subgraphs."""
