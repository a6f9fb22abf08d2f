"""Running a circuit: forward pass, reverse sweep, and the check of gradients by differences."""
