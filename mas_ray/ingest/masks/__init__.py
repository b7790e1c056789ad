"""One mask method per module: images in, person masks out."""
