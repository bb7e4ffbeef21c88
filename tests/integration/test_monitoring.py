"""docs/monitoring: the alert rules do what they say, and every metric, label and result in them and
in the dashboard is one that the daemon has.

promtool is Debian's, unpacked into the build folder: the package would start a server.
"""
import glob
import json
import os
import re
import shutil
import subprocess

import pytest
from test_metrics import FAMILIES

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
DOCS = os.path.join(TOP, "docs", "monitoring")
PROMETHEUS = os.path.join(TOP, "build", "prometheus")
PROMTOOL = os.path.join(PROMETHEUS, "usr", "bin", "promtool")
RESULTS = set(re.findall(r'METRIC_\w+, "(\w+)"',
                         open(os.path.join(TOP, "lib", "core", "metrics.c")).read()))


@pytest.fixture(scope="session")
def promtool():
    if not os.path.exists(PROMTOOL):
        packages = os.path.join(TOP, "tests", "support", "packages.sh")
        subprocess.run(["bash", "-ec", f". {packages}; unpack_package {PROMETHEUS} prometheus"],
                       check=True)
    return PROMTOOL


def read(name):
    with open(os.path.join(DOCS, name)) as f:
        return f.read()


def expressions(node):
    """Every PromQL expression of a dashboard."""
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from expressions(child)


def check_names(text):
    """The metrics that PromQL names, each with labels and results that it has."""
    found = set()
    for name, labels in re.findall(r"(multidropd_\w+)(?:\{([^}]*)\})?", text):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        family = base if FAMILIES.get(base, ("",))[0] == "histogram" else name
        assert family in FAMILIES, f"there is no {name}"
        for label, value in re.findall(r'(\w+)!?=~?"([^"]*)"', labels):
            assert label in FAMILIES[family][1], f"{name} has no label {label}"
            assert label != "result" or value in RESULTS, f"{name} has no result {value}"
        found.add(family)
    return found


def test_dashboard():
    dashboard = json.loads(read("dashboard.json"))
    texts = list(expressions(dashboard))
    assert check_names("\n".join(texts)) == set(FAMILIES), "one is shown nowhere"
    assert len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"])
    places = [(x, y) for g in (p["gridPos"] for p in dashboard["panels"])
              for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])]
    assert len(places) == len(set(places)), "panels overlap"
    assert max(x for x, _ in places) == 23


def test_every_expression_of_the_dashboard_parses(promtool, tmp_path):
    texts = expressions(json.loads(read("dashboard.json")))
    rules = [{"record": f"x:{i}", "expr": t.replace("$__rate_interval", "5m")}
             for i, t in enumerate(texts)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    run = subprocess.run([promtool, "check", "rules", "rules.yml"], cwd=tmp_path,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_alerts_name_what_there_is():
    rules = read("alerts.yml")
    check_names(rules)
    named = set(re.findall(r"- alert: (\w+)", rules))
    with open(os.path.join(TOP, "docs", "monitoring.md")) as f:
        assert set(re.findall(r"^\| `(Multidropd\w+)`", f.read(), re.M)) == named
    with open(os.path.join(TOP, "tests", "integration", "monitoring", "alerts_test.yml")) as f:
        tested = f.read()
    for name in named:
        assert re.search(rf"alertname: {name}\n +exp_alerts", tested), f"{name}: never fires"
        assert re.search(rf"alertname: {name} }}", tested), f"{name}: never does not"


def test_alerts_fire_when_they_should(promtool, tmp_path):
    rules = os.path.join(DOCS, "alerts.yml")
    run = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    # The texts are for people; promtool would compare each.
    plain = re.sub(r"^ {8}annotations:\n(?: {10}.*\n)+", "", read("alerts.yml"), flags=re.M)
    assert "annotations" not in plain and plain.count("- alert:") == read("alerts.yml").count("- a")
    (tmp_path / "alerts.yml").write_text(plain)
    for path in glob.glob(os.path.join(TOP, "tests", "integration", "monitoring", "*.yml")):
        shutil.copy(path, tmp_path)
    run = subprocess.run([promtool, "test", "rules", "alerts_test.yml"], cwd=tmp_path,
                         capture_output=True, text=True)
    assert run.returncode == 0 and "SUCCESS" in run.stdout, run.stdout + run.stderr
