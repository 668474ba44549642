"""Series for tests of rows that depend on each other."""

import numpy as np


def autoregression(n, phi, rng, burn=500):
    """n steps of z_t = phi z_(t-1) + normal noise."""
    noise, found = rng.standard_normal(n + burn), np.zeros(n + burn)
    for t in range(1, n + burn):
        found[t] = phi * found[t - 1] + noise[t]
    return found[burn:]
