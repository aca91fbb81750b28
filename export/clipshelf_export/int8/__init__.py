"""How the linears and convolutions of a tower become int8."""
