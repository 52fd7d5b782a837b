"""Webhooks out: the guard says where a call may go, the signing proves whose it is, the sender makes it, once."""
