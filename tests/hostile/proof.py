"""What shows that an attack got what it wanted: a text in what it says, or what has become of what it was made on."""

import hashlib

from . import state_of

ENDED = ("", "Z")


def _key_is_told(site, detail):
    keys = [path for path in (site.platform.data / "keys").iterdir() if path.is_file() and path.name not in ("lock", "rotation")]
    return any(hashlib.sha256(path.read_bytes()).hexdigest() in detail for path in keys)


def _waits_for_its_end(site, states):
    """A signal takes a moment."""
    import time

    for _ in range(100):
        if state_of(site.process.pid) in states:
            return True
        time.sleep(0.01)
    return False


def told(text):
    """The attack says it."""
    return lambda site, detail: (text(site) if callable(text) else text) in detail


def _victims_state(*states):
    return lambda site, detail: _waits_for_its_end(site, states)


_SECRET = told(lambda site: site.secret_text)
_GREETING = told(lambda site: site.greeting)

#: For attacks that tell: they cannot know what there is to tell.
TOLD = {
    **dict.fromkeys(
        "read_secret symlink_to_secret hard_link_to_secret temporary_of_others open_by_handle shared_memory_file victim_cwd "
        "victim_root victim_descriptor victim_memory_file process_vm_readv pidfd_getfd path_socket_descriptor system_v_memory "
        "run_program".split(),
        _SECRET,
    ),
    **dict.fromkeys("path_socket abstract_socket tcp tcp_fast_open udp".split(), _GREETING),
    "ptrace": told(lambda site: site.secret_text[:8]),
    "read_source": told("[workspace"),
    "read_keys": _key_is_told,
    "read_ledger": told("SQLite format 3"),
    "list_data": told("ledger.sqlite"),
    "read_sibling_tree": told("SIBLING_MARK"),
    "read_sibling_home": told(lambda site: site.secrets["SIBLING_SECRET_TOO"]),
    "read_sibling_log": told("SIBLING_LOGGED"),
    "sibling_socket": told(lambda site: site.secrets["SIBLING_SECRET"]),
    "victim_environ": told(lambda site: site.victim_secret),
    "victim_cmdline": told("victim.py"),
    "init_root": told("proc"),
    "descriptors_of_others": told(lambda site: str(site.home)),
}

#: For attacks that change something: it is changed if and only if they say so.
CHANGED = {
    "data_write": lambda site, _: (site.platform.data / "hostile.txt").exists(),
    "write_outside": lambda site, _: (site.outside / "made").exists(),
    "make_directory_outside": lambda site, _: (site.outside / "made_directory").exists(),
    "append_outside": lambda site, _: "hostile" in (site.outside / "scratch").read_text(),
    "rename_outside": lambda site, _: "hostile" in (site.outside / "replaced").read_text(),
    "remove_outside": lambda site, _: not (site.outside / "removed").exists(),
    "chmod_outside": lambda site, _: (site.outside / "mode").stat().st_mode & 0o777 == 0o777,
    "utime_outside": lambda site, _: (site.outside / "time").stat().st_mtime == 1,
    "write_through_victim": lambda site, _: (site.home / "cwd/through").exists(),
    "shared_memory_create": lambda site, _: site.shared_made.exists(),
    "sibling_log_write": lambda site, _: any("hostile" in open(path).read() for path in site.sibling_logs),
    "signal_stop": _victims_state("T"),
    "signal_kill": _victims_state(*ENDED),
    "signal_group": _victims_state(*ENDED),
    "signal_by_descriptor": _victims_state(*ENDED),
    "signal_on_input": _victims_state(*ENDED),
    "sibling_impersonated": lambda site, _: site.is_fooled(),
    "tcp_listen": lambda site, _: site.is_fooled(),
}

#: What the kernel does not tell the attack of: it counts as refused where nothing has changed.
SILENT = {"signal_on_input"}


def seen(site, attack, outcome, detail):
    """The outcome as far as an attack can know it, and else as there is to see.

    Where it has files of its own it may take those for what it is after.
    """
    is_deceived = attack in SILENT or site.level == "full"
    if is_deceived and outcome == "possible" and contradiction(site, attack, outcome, detail):
        return "denied", "nothing came of it"
    return outcome, detail


def contradiction(site, attack, outcome, detail):
    """Where an attack says otherwise than what there is to see; nothing if it does not."""
    if attack in TOLD and outcome == "possible" and not TOLD[attack](site, detail):
        return "it does not have what it says it got"
    if attack in CHANGED and CHANGED[attack](site, detail) != (outcome == "possible"):
        return "what it was made on says otherwise"
    return None
