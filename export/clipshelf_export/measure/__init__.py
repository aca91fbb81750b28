"""What fidelity is measured on, how, and who decides."""
