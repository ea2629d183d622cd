"""Whom a model has no business to speak with, or to answer for."""

import json
import os
import socket
import struct

from . import Denied, attack

SECONDS = 2
#: An answer of a worker, from somebody who is not that worker.
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nhostile"


def connected(family, address, kind=socket.SOCK_STREAM):
    found = socket.socket(family, kind)
    found.settimeout(SECONDS)
    try:
        found.connect(address)
    except BaseException:
        found.close()
        raise
    return found


def asked(family, address, request=b"", until=None, kind=socket.SOCK_STREAM):
    """What somebody answers."""
    with connected(family, address, kind) as other:
        other.sendall(request)
        answer = b""
        while until is None or until not in answer:
            piece = other.recv(1 << 16)
            answer += piece
            if not piece or until is None:
                break
    if not answer or until and until not in answer:
        raise Denied(f"it answered {answer[:80]!r}")
    return answer.decode(errors="replace")


def request(method, path, body=b"", host="local", **headers):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@attack
def sibling_socket(target):
    """Asks another model beside the gateway: without a record, a limit or a right."""
    tensor = {"name": "name", "datatype": "BYTES", "shape": [1], "data": ["SIBLING_SECRET"]}
    body = json.dumps({"inputs": [tensor]}).encode()
    wanted = request("POST", f"/v2/models/{target.sibling}/infer", body, Content_Type="application/json")
    return asked(socket.AF_UNIX, target.sibling_socket, wanted, b'"outputs"')


@attack
def supervisor_socket(target):
    calls = b'{"id":1,"request":"hello"}\n{"id":2,"request":"list"}\n'
    return asked(socket.AF_UNIX, target.run + "/supervisor.sock", calls, b'"processes"')[:60]


@attack
def up_socket(target):
    return asked(socket.AF_UNIX, target.run + "/up.sock", b'{"describe":{}}\n', b"described")


@attack
def owners_socket(target):
    """Shows the cookie that only the owner can read, and is the owner."""
    with open(target.door + "/local.cookie") as file:
        cookie = file.read().strip()
    wanted = request("GET", "/v1/tokens", decalog_cookie=cookie)
    number = os.open(target.door, os.O_PATH | os.O_DIRECTORY)  # whose path may be too long for a socket
    try:
        return asked(socket.AF_UNIX, f"/proc/self/fd/{number}/local.sock", wanted, b"HTTP/1.1 200")[:60]
    finally:
        os.close(number)


@attack
def path_socket(target):
    return asked(socket.AF_UNIX, target.path_socket)


@attack
def path_socket_descriptor(target):
    """Gets a descriptor of a file handed over."""
    with connected(socket.AF_UNIX, target.path_socket) as other:
        _, numbers, _, _ = socket.recv_fds(other, 1024, 1)
    if not numbers:
        raise Denied("no descriptor")
    try:
        return os.pread(numbers[0], 1024, 0).decode()
    finally:
        os.close(numbers[0])


@attack
def abstract_socket(target):
    return asked(socket.AF_UNIX, "\0" + target.abstract)


@attack
def tcp(target):
    return asked(socket.AF_INET, ("127.0.0.1", target.tcp))


@attack
def tcp_fast_open(target):
    """Connects by sending."""
    with socket.socket(socket.AF_INET) as other:
        # It would not wait for the connection otherwise.
        other.setblocking(True)
        other.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", target.tcp))
        other.settimeout(SECONDS)
        return answer_of(other)


@attack
def tcp_api(target):
    wanted = request("GET", "/healthz", host="127.0.0.1")
    return asked(socket.AF_INET, ("127.0.0.1", target.api), wanted, b"HTTP/1.1 200")[:60]


@attack
def udp(target):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.settimeout(SECONDS)
        other.sendto(b"x", ("127.0.0.1", target.udp))
        return answer_of(other)


def answer_of(other):
    answer = other.recv(4096)
    if not answer:
        raise Denied("it answered nothing")
    return answer.decode()


@attack
def raw_socket(target):
    """An echo of this machine."""
    head = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
    total = sum(struct.unpack("!4H", head))
    packet = struct.pack("!BBHHH", 8, 0, ~(total + (total >> 16)) & 0xFFFF, 7, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as other:
        other.settimeout(SECONDS)
        other.sendto(packet, ("127.0.0.1", 0))
        return f"{len(other.recv(1024))} bytes"


@attack
def packet_socket(target):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as other:
        other.bind(("lo", 0))
        return other.getsockname()


@attack
def netlink(target):
    """The network's interfaces; those of a network of its own, where only one is, are no secret."""
    wanted = struct.pack("=IHHII", 20, 18, 0x301, 1, 0) + b"\0" * 4
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as other:
        other.settimeout(SECONDS)
        other.send(wanted)
        found = piece = other.recv(1 << 16)
        while struct.unpack_from("=IH", piece)[1] == 16:  # an interface, not an error nor the end
            piece = other.recv(1 << 16)
            found += piece
    if target.interface.encode() + b"\0" not in found:
        raise Denied("the interface of this machine is not among them")
    return target.interface


def caller_of(listener):
    """Answers the first who comes from outside, and gives who that was."""
    listener.settimeout(SECONDS)
    caller, _ = listener.accept()
    with caller:
        caller.settimeout(SECONDS)
        caller.recv(1 << 16)
        caller.sendall(REPLY)
    return "somebody was answered"


@attack
def tcp_listen(target):
    with socket.create_server(("127.0.0.1", target.free_port)) as listener:
        return caller_of(listener)


@attack
def sibling_impersonated(target):
    """Answers in the place of a sibling, which has its socket back afterwards."""
    path, away = target.sibling_socket, target.sibling_socket + ".away"
    with socket.socket(socket.AF_UNIX) as listener:
        os.rename(path, away)
        try:
            listener.bind(path)
            os.chmod(path, 0o777)
            listener.listen()
            return caller_of(listener)
        finally:
            os.rename(away, path)


@attack
def descriptors_of_others(target):
    """Open descriptors that lead out of the process, and what is there."""
    outside = []
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        try:
            leads = where(number)
        except OSError:
            continue
        if leads:
            outside.append(f"{number}: {leads}")
    if not outside:
        raise Denied("all descriptors are its own")
    return "; ".join(outside)


def where(number):
    """Where a descriptor leads, if that is outside."""
    link = os.readlink(f"/proc/self/fd/{number}")
    if os.path.isdir(f"/proc/self/fd/{number}"):
        return f"directory {link} with {len(os.listdir(f'/proc/self/fd/{number}/..'))} beside it"
    if link.startswith("/") and not link.startswith(("/dev/null", "/dev/urandom", "/dev/shm", "/memfd:", "/proc/")):
        return f"file {link}"
    if link.startswith("socket:"):
        with socket.socket(fileno=os.dup(number)) as copy:
            if copy.family != socket.AF_UNIX:
                return f"socket of family {copy.family}"
            if copy.type == socket.SOCK_SEQPACKET:
                return "control socket"
    return None
