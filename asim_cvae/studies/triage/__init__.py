"""What a scientist needs to know of the tools that sift observations: how well each works, on simulated data."""
