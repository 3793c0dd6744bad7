"""The whole comparison: plan of arms, run, estimates, verdict, report."""
