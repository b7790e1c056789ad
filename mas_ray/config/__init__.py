"""The vocabulary of a run: frozen dataclasses, standard library only."""
