"""The two networks: the keypoint detector and the shape prior network."""
