"""Pure per-take work from video to dataset rows: numpy, OpenCV, SAM; no Ray."""
