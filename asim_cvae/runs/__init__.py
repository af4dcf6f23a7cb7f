"""Write, read, resume and compare run folders, and check and export their models."""
