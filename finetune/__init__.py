"""Adapts a local language model on records of the library, and predicts properties of crystals."""

from finetune.predict import BandGapModel, Prediction, Predictor, load

__all__ = ["BandGapModel", "Prediction", "Predictor", "load"]
