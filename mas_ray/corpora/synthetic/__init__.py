"""Procedural people before calibrated cameras, with exact masks and joints, written as a plain folder corpus."""
