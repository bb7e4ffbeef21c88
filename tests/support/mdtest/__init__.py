"""Real and misbehaving peers for multidropd's tests: each module owns one of them.

Everything listens on 127.0.0.1 only, lives in one temporary directory, and is ended by the object
that started it. Needs nothing but the standard library; Dovecot and Postfix need root.
"""
