"""What `hyperion-tui COMMAND` does: one function a command, grouped by subject."""
