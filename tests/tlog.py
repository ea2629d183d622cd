"""Proofs about a ledger, computed word by word as RFC 6962 (trees), RFC 8032 (Ed25519) and C2SP (notes, proofs) define
them, without a line of Decalog's; and the ledger's file as somebody writes it who has the whole machine."""

import base64
import hashlib
import sqlite3
from pathlib import Path

ZERO = bytes(32)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf(entry):
    return sha256(b"\0", entry)


def split(n):
    """The largest power of two smaller than n."""
    return 1 << (n - 1).bit_length() - 1


def root(leaves):
    """MTH of RFC 6962, section 2.1."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256()
    k = split(len(leaves))
    return sha256(b"\1", root(leaves[:k]), root(leaves[k:]))


def path(m, leaves):
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return path(m, leaves[:k]) + [root(leaves[k:])] if m < k else path(m - k, leaves[k:]) + [root(leaves[:k])]


def consistency(m, leaves, whole=True):
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return consistency(m, leaves[:k], whole) + [root(leaves[k:])]
    return consistency(m - k, leaves[k:], False) + [root(leaves[:k])]


# Ed25519 (RFC 8032, section 5.1), slow and plain.
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    d = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + d, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - d, -1, P) % P


def times(n, point):
    result = (0, 1)
    while n:
        result = add(result, point) if n & 1 else result
        point, n = add(point, point), n >> 1
    return result


def point(text):
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0
    return (P - x if x & 1 != sign else x), y


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(key, message, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % ORDER
    return s < ORDER and times(s, BASE) == add(point(r), times(h, point(key)))


def read_key(text):
    """A verifier key: its name, id, type and bytes."""
    name, number, material = text.strip().split("+", 2)
    material = base64.b64decode(material)
    assert sha256(name.encode(), b"\n", material)[:4].hex() == number
    return name, bytes.fromhex(number), material[0], material[1:]


def read_checkpoint(note, *keys):
    """Origin, size and root of a checkpoint that all these keys have signed."""
    text, signatures = note.split("\n\n")
    text += "\n"
    by = {}
    for line in signatures.splitlines():
        dash, name, signature = line.split(" ")
        assert dash == "—"
        signature = base64.b64decode(signature)
        by[name, signature[:4]] = signature[4:]
    for key in keys:
        name, number, kind, material = read_key(key)
        signature, message = by[name, number], text
        if kind == 4:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = f"cosignature/v1\ntime {time}\n{text}"
        assert is_signed(material, message.encode(), signature), key
    origin, size, root_text = text.splitlines()
    return origin, int(size), base64.b64decode(root_text)


def read_receipt(text):
    """Index, hashes of the proof, the checkpoint, and what is carried with them."""
    head, checkpoint = text.split("\n\n", 1)
    first, extra, index, *hashes = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    assert extra.startswith("extra ") and index.startswith("index ")
    return int(index[6:]), [base64.b64decode(h) for h in hashes], checkpoint, base64.b64decode(extra[6:])


def hash_of(seq, at, actor, subject, subject_seq, epoch, kind, version, body, previous):
    """The hash of an entry: over all its fields, each with its length before it."""
    numbers = [n.to_bytes(8, "little") for n in (seq, at, subject_seq, epoch, version)]
    fields = [*numbers, actor.encode(), subject.encode(), kind.encode(), body, previous]
    return sha256(*[len(field).to_bytes(8, "little") + field for field in fields])


class File:
    """The ledger of a data directory whose platform does not run, in the hands of somebody who knows how it is made."""

    def __init__(self, data):
        self.data = Path(data)
        self.connection = sqlite3.connect(self.data / "ledger.sqlite")

    def rows(self):
        columns = "seq, at, actor, subject, subject_seq, writer_epoch, kind, body_version, body"
        return [list(row) for row in self.connection.execute(f"SELECT {columns} FROM entries ORDER BY seq")]

    def write(self, rows, checkpoints=False, tree=True):
        """Writes these rows in the place of all, with hashes, tree and head marker as if nothing else had ever been
        there. The snapshot goes: it is made again. Checkpoints are left only if somebody forgets them."""
        with self.connection:
            self.connection.execute("DELETE FROM entries")
            self.connection.execute("DELETE FROM proof")
            if not checkpoints:
                self.connection.execute("DELETE FROM checkpoints")
            previous, edge, nodes, subjects = ZERO, [], [], {}
            for seq, row in enumerate(rows, 1):
                subjects[row[3]] = subjects.get(row[3], 0) + 1
                row = [seq, *row[1:4], subjects[row[3]], *row[5:]]
                own = hash_of(*row, previous)
                values = ", ".join("?" * 11)
                self.connection.execute(f"INSERT INTO entries VALUES ({values})", (*row, previous, own))
                # The subtrees that this entry completes, from the smallest.
                node, size = leaf(own), seq
                nodes.append(node)
                while size % 2 == 0:
                    node, size = sha256(b"\1", edge.pop(), node), size // 2
                    nodes.append(node)
                edge.append(node)
                previous = own
            if tree:
                self.connection.executemany("INSERT INTO proof VALUES (?, ?)", enumerate(nodes))
        (self.data / "ledger.head").write_text(f"{len(rows):020} {previous.hex()}\n")
        for snapshot in self.data.glob("ledger.fold*"):
            snapshot.unlink()
        self.connection.close()
