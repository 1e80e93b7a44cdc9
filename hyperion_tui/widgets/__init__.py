"""The parts of screens: each is a pure view on frozen values; none knows the store."""
