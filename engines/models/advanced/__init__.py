"""The family `advanced`: networks made for series, beside the linear rivals they must beat."""
