"""The training module and the objective that it minimises."""
