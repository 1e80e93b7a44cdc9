"""What the networks of every family share: one training loop, and windows of time."""
