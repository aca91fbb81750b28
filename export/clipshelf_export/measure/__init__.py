"""The samples that towers are measured on, how their fidelity is measured, and which plans are accepted."""
