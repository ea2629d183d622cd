"""Which packages an interpreter has, and the modules that each brings: asked of the one that a user works with."""

import re
from importlib import metadata

NAME = re.compile(r"[\w.-]+")
ENDINGS = (".py", ".so", ".pyd")


def installed():
    """`{name: {"version", "modules", "requires"}}` of all packages that this interpreter finds."""
    found = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found[name] = {
                "version": distribution.version,
                "modules": sorted(top_level(distribution)),
                "requires": required(distribution),
            }
    return found


def required(distribution):
    """The names of what a package needs, whatever its extras do."""
    return [NAME.match(line).group() for line in distribution.requires or [] if "extra ==" not in line]


def top_level(distribution):
    """The names that a package brings to import."""
    said = distribution.read_text("top_level.txt")
    if said:
        return set(said.split())
    first = {str(file).split("/")[0] for file in distribution.files or [] if str(file).endswith(ENDINGS)}
    return {name.split(".")[0] for name in first if name != ".." and not name.endswith((".dist-info", ".data"))}
