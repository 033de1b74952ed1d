"""Tables of experiments: what they compare, what came of it, and what that says of the paper's claims."""
