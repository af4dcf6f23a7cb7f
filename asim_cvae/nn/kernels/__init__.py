"""How networks are computed fast: blocks of positions, chunks that fit the cache, bounds; kernels for GPUs."""
