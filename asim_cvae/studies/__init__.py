"""Studies: how real the simulator is, how fast the program is."""
