"""The family `sklearn`: regressors of scikit-learn."""
