"""The modules of the standard library that serve a model, as copies of the worker's own.

What a model puts into the modules themselves, as gevent does, is not what serves it. So no other module of this package
imports these from elsewhere.
"""

import json
import os
import select
import signal
import socket
import stat
import struct
import threading
import time
import traceback


def own_copy(module):
    copy = type(module)(module.__name__)
    vars(copy).update(vars(module))
    return copy


json, os, select, signal, socket, stat, struct, threading, time, traceback = map(
    own_copy, (json, os, select, signal, socket, stat, struct, threading, time, traceback)
)
