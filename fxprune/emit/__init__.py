"""A compact graph in, files out: source, weights, exported program, plan."""
