"""Metrics and protocols; what predictions are measured by."""
