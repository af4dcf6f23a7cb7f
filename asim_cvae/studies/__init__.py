"""Study how realistic the simulator is, and how fast the program is."""
