"""FLAML as one model of the tree."""
