"""Circuit to circuit: derivatives as documents."""
