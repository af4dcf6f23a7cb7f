"""Study the boundary issue of the thesis: how much worse a frame is reconstructed at its ends than inside."""
