"""What `compare` is made of: the servers, the programs, the cases, and the promises."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
os.environ.setdefault("MULTIDROPD", os.path.join(ROOT, "build", "release", "multidropd"))
