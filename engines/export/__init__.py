"""Predictors that are taken home: a folder with models, card and all that predicting needs.

Nothing in such a folder is code that runs when it is read. Models lie in the formats of their
libraries (XGBoost, LightGBM, CatBoost), as safetensors with JSON for networks, and as skops for
scikit-learn's estimators, where only the types on a list of ours are built. There is no pickle.

predictor.json      what the columns are, who is a member with which weight, versions, hashes
models/<n>/         model.json and the file of the library
context.npz         for models that read windows: the rows that came last
card.json, CARD.md  scores, split, data hash: what the predictor is worth, and how that is known
predict.py          ten lines that predict
"""
