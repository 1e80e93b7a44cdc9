"""The family `ensemble`: gradient boosting libraries."""
