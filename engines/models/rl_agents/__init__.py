"""Agents that trade, trained by stable-baselines3 in the simulator."""
