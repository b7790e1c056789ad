"""Stateless geometry on tensors with any leading batch axes; torch only."""
