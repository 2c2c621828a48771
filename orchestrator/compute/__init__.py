"""The contract of the Substra ecosystem: compute plans of functions over data of organizations."""
