"""How a run is trained: a step, where it stands, what a person sees meanwhile, and how it is scored."""
