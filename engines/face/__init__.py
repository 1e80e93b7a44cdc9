"""What stands behind `engines.HyperparameterOptimizer`: calls, watching, results, comparisons."""
