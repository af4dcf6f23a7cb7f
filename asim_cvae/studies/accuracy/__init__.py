"""How well heads recognise classes and kinds of events, on simulated archives kept for evaluation."""
