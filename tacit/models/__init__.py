"""Every model behind Inspect's model API; weights by name; probe scoring."""
