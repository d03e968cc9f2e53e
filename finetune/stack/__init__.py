"""The shipped band gap predictor: boosted trees and graph networks, from its recipe to its model."""
