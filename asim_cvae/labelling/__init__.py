"""Labels by people: which frames to label next, how far people agree, and what they agree to."""
