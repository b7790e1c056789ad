"""Which clips, shots, frames and masks are worth learning from: pure functions with a reason for every no."""
