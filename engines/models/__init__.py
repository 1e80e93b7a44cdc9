"""The models that can be tuned: one folder a family, light declarations and heavy training."""
