"""mas-ray: 3D human pose from video without a single pose label, trained as a service on Ray."""

__version__ = "0.1.0"
