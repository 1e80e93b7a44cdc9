"""What is read out of finished trials: comparison tables and exports."""
