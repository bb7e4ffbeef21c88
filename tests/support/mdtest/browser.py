"""A headless Chromium, and axe-core, which finds what is hard to use for people with disabilities.

axe-core is fetched by npm, once, into the build folder. Without it a test fails: what was not
looked at is not accessible.
"""
import hashlib
import os
import subprocess
import tarfile
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
AXE_VERSION = "4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
AXE = os.path.join(TOP, "build", f"axe-core-{AXE_VERSION}.js")
# --no-sandbox: the tests run as root, and the only page is ours.
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
           "--hide-scrollbars")


def axe_source():
    if not os.path.exists(AXE):
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(["npm", "pack", "--silent", f"axe-core@{AXE_VERSION}"], cwd=scratch,
                           check=True, timeout=120, stdin=subprocess.DEVNULL)
            with tarfile.open(os.path.join(scratch, f"axe-core-{AXE_VERSION}.tgz")) as tar:
                content = tar.extractfile("package/axe.min.js").read()
        os.makedirs(os.path.dirname(AXE), exist_ok=True)
        with open(f"{AXE}.{os.getpid()}", "wb") as f:
            f.write(content)
        os.rename(f.name, AXE)
    with open(AXE, "rb") as f:
        content = f.read()
    assert hashlib.sha256(content).hexdigest() == AXE_SHA256, f"{AXE} is not what was reviewed"
    return content.decode()


class Browser:
    def __init__(self):
        options = Options()
        for option in OPTIONS:
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)

    def close(self):
        self.driver.quit()

    def look(self, url, scheme, width, height=900):
        """Opens a page in a window of that width; scheme: "light" or "dark"."""
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self._resize(width, height)
        self.driver.get(url)

    def _resize(self, width, height):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def run(self, script):
        return self.driver.execute_script(script)

    def complaints(self):
        """What the console says: a style that the policy forbids, for one."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def violations(self):
        """What axe-core finds, all its rules; one text each."""
        self.run(axe_source())
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document).then(done, e => done(String(e)))")
        assert isinstance(found, dict), found
        assert found["passes"], "axe-core has looked at nothing"
        return [f"{v['id']}: {v['help']}: {node['html'][:120]} {node['failureSummary']}"
                for v in found["violations"] for node in v["nodes"]]

    def too_wide(self):
        """Elements that stand out of the window at its right; what is hidden from the eye aside."""
        return self.run("""
            const wide = document.documentElement.clientWidth, out = [];
            if (document.documentElement.scrollWidth > wide) out.push("the page scrolls sideways");
            for (const e of document.body.querySelectorAll("*")) {
                if (e.closest("thead") && getComputedStyle(e.closest("thead")).width == "1px")
                    continue;
                const r = e.getBoundingClientRect();
                if (r.right > wide + 1 || e.scrollWidth > e.clientWidth + 1 && e.clientWidth &&
                        getComputedStyle(e).display != "inline")
                    out.push(e.outerHTML.slice(0, 120));
            }
            return out;""")

    def screenshot(self, path, width):
        """Of the whole page, as high as it is."""
        self._resize(width, self.run("return document.documentElement.scrollHeight"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        assert self.driver.save_screenshot(path)
