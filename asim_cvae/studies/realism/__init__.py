"""Compare simulated light curves with real ones, and measure how hard their labels are to predict."""
