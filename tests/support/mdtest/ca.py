"""A certificate authority for one test run, made with the openssl command."""
import os
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Certificate:
    cert: str
    key: str


class CA:
    def __init__(self, directory, name="mdtest CA"):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.cert = os.path.join(directory, "ca.pem")
        self.key = os.path.join(directory, "ca.key")
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
                  "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    def server(self, name="server", alt="DNS:localhost,IP:127.0.0.1,IP:::1", days=30):
        """A server certificate; `alt` are its subjectAltNames, days < 0 makes it expired."""
        base = os.path.join(self.directory, name)
        extensions = base + ".ext"
        with open(extensions, "w") as f:
            f.write(f"subjectAltName={alt}\nbasicConstraints=CA:FALSE\n"
                    "extendedKeyUsage=serverAuth\n")
        self._run("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                  "-keyout", base + ".key", "-out", base + ".csr")
        # x509 -days takes a negative number: notAfter then lies before now.
        self._run("x509", "-req", "-in", base + ".csr", "-CA", self.cert, "-CAkey", self.key,
                  "-CAcreateserial", "-days", str(days), "-extfile", extensions,
                  "-out", base + ".pem")
        return Certificate(base + ".pem", base + ".key")

    def expired(self):
        return self.server("expired", days=-1)

    def wrong_name(self):
        return self.server("wrong-name", alt="DNS:other.example")

    def future(self):
        """Valid from the day after tomorrow."""
        self._clock = ("faketime", "+2 days")
        try:
            return self.server("future")
        finally:
            self._clock = ()

    _clock = ()  # openssl x509 knows no other beginning than now

    def _run(self, *args):
        done = subprocess.run([*self._clock, "openssl", *args], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr}")
