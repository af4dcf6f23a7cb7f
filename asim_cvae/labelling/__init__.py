"""Labels by people: how far they agree, and what they agree to."""
