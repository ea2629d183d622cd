"""A process that others are not to touch: it says where its secrets are, and waits."""

import ctypes
import json
import os
import sys
import time

PR_SET_PTRACER, ANYBODY = 0x59616D61, ctypes.c_ulong(-1)

memory = ctypes.create_string_buffer(sys.argv[2].encode())
descriptor = os.open(sys.argv[3], os.O_RDONLY)
# So that the system's own caution is not taken for a sandbox.
ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANYBODY, 0, 0, 0)
print(json.dumps({"address": ctypes.addressof(memory), "length": len(memory) - 1, "descriptor": descriptor}), flush=True)
time.sleep(float(sys.argv[4]))
