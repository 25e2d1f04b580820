"""Phases and pictures → trained weights: data, the loop, measurements."""
