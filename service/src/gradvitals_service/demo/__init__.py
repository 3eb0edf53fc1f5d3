"""The demonstration: the GRU that explodes without clipping and trains with it, on a real service."""
