"""Starts, watches and stops local Namestead networks; used by testnet/up, testnet/down and scripts/tests."""
