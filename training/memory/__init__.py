"""What a training takes of memory: smaller weights and states, what lies elsewhere, and the plan of it all."""
