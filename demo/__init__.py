"""Runs the real programs on this machine, plants a fault and shows what diagnose makes of it: python -m demo --help"""
