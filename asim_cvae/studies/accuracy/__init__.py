"""How well heads tell classes and kinds of events of simulated frames that chose nothing."""
