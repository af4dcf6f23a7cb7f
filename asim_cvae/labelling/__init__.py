"""Labels by people: which frames to label next."""
