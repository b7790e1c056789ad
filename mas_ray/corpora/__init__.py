"""Where raw clips are and what is known about them, before decoding; no torch."""
