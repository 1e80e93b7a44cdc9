"""Parts of the benchmark of quality: data, peers, cells, tables."""
