"""Who calls, and what they may do: tokens verified, tokens issued, clients and their secrets."""
