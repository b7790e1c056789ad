"""The jobs we run: each module is one complete job literal."""
