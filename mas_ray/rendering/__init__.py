"""Keypoints to masks, differentiably; torch only."""
