"""Published attacks on other platforms, made against this one: none of them works. docs/attacks.md lists them.

    pytest tests/test_attacks.py -k CVE-2026-0545
    DECALOG_WRITE_ATTACKS=1 pytest tests/test_attacks.py -k page      writes docs/attacks.md anew
"""

import os
import re

import attacks.access  # noqa: F401
import attacks.content  # noqa: F401
import attacks.exhaustion  # noqa: F401
import attacks.origin  # noqa: F401
import pytest
from attacks import ATTACKS, DECALOG, Site
from conftest import ROOT, Platform

PAGE = ROOT / "docs/attacks.md"
BEGIN = f"""# Attacks

Published attacks on other platforms for models, and what becomes of the same kind of attack on Decalog. Each is made against a real server by
`tests/test_attacks.py`, in the form that Decalog's API has for it. Afterwards the server runs and answers, nothing that was not the attacker's to write was added
to the ledger, no address that the attacker named was called, and no command was run. [security.md](security.md) says what is promised in general.

`fixed` is the first release of the peer that refuses the attack, as far as advisories say it; `not fixed` if they say there is none. Decalog refuses
all of them since {DECALOG}. This page is written by the test.

"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    home = tmp_path_factory.mktemp("site")
    platform = Platform(home / "data").start()
    site = Site(platform, home)
    yield site
    site.close()
    assert platform.stop() == 0


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack_is_refused(site, attack):
    head, log = site.head(), site.home / "data.log"
    assert site.predicts()
    attack.run(site)
    assert site.platform.process.poll() is None and site.predicts(), "it serves as before"
    assert attack.writes or site.head() == head, "the ledger is as before"
    assert not site.canary.calls, "nobody was called"
    assert not site.marker.exists(), "no command was run"
    assert "panicked" not in log.read_text()


def test_there_are_many_kinds_of_attacks():
    cves = [attack.cve for attack in ATTACKS]
    assert len(set(cves)) == len(cves) >= 40
    assert all(re.fullmatch(r"CVE-20\d\d-\d{4,5}", cve) for cve in cves)
    assert len({attack.kind for attack in ATTACKS}) >= 14 and len({attack.peer for attack in ATTACKS}) >= 7
    assert all(re.fullmatch(r"[\d.]+|not fixed|unknown", attack.fixed) for attack in ATTACKS)


def test_the_page_lists_exactly_these():
    rows = ["| attack | kind | peer | fixed | what it was | here |", "| --- | --- | --- | --- | --- | --- |"]
    for attack in sorted(ATTACKS, key=lambda attack: (attack.kind, attack.peer, attack.cve)):
        rows.append(f"| {attack.cve} | {attack.kind} | {attack.peer} | {attack.fixed} | {attack.what} | {attack.here} |")
    page = BEGIN + "\n".join(rows) + "\n"
    if os.environ.get("DECALOG_WRITE_ATTACKS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "DECALOG_WRITE_ATTACKS=1 writes it anew"
