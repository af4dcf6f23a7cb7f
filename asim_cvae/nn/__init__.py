"""Networks and likelihoods as plain torch modules."""
