"""`countwheel doctor`: what of a deployment is unsafe.

Three steps, of which only the first touches anything: `examine` looks at settings, files and the database, `settings`
and `database` turn what was seen into findings, and the command prints them. Nothing here holds a secret but to judge
it, and no finding has one in it.
"""
