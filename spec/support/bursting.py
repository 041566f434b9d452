"""A service whose quiet shards all answer at once, with large pages.

python3 bursting.py SHARDS RECORDS BYTES [chunked|tls]: prints its pid and its port, a line each. The first QUIET pages
of a shard are empty; its next GetRecords is held until those of all shards have come, and is then answered with
RECORDS records of BYTES each; later pages are empty. Records of a shard have the sequence numbers 1, 2, ...; their data ends
with it. chunked: without Content-Length. tls: as localhost, with
the certificate of the specs. PutRecord is answered. TellState returns {"begun": pages whose sending has
begun, "sent": those that are sent, "asked": [the shard of each GetRecords that has records],
"puts": n}. Reset resets the connections on which a page is under way.
"""
import base64
import json
import os
import signal
import socket
import ssl
import struct
import sys
import threading

SHARDS, RECORDS, BYTES = map(int, sys.argv[1:4])
CHUNKED, TLS = sys.argv[4:5] == ["chunked"], sys.argv[4:5] == ["tls"]
lock = threading.Condition()
QUIET = 5
pages, held, state, sending = {}, set(), {"begun": 0, "sent": 0, "asked": [], "puts": 0}, set()


def shard(i):
    low, high = 2**128 * i // SHARDS, 2**128 * (i + 1) // SHARDS - 1
    return {"ShardId": "shardId-%012d" % i, "SequenceNumberRange": {"StartingSequenceNumber": "0"},
            "HashKeyRange": {"StartingHashKey": str(low), "EndingHashKey": str(high)}}


def record(number):
    data = base64.b64encode((b"%0*d" % (BYTES, number))).decode()
    return {"Data": data, "PartitionKey": "k", "SequenceNumber": str(number), "ApproximateArrivalTimestamp": 1.5}


PAGE = ",".join(json.dumps(record(i + 1)) for i in range(RECORDS)).encode()


def get_records(body):
    name, number = body["ShardIterator"].rsplit(":", 1)
    pages[name] = pages.get(name, 0) + 1
    full = number == "1" and pages[name] > QUIET
    if full:
        with lock:
            state["asked"].append(name)
            held.add(name)
            lock.notify_all()
            lock.wait_for(lambda: len(held) >= SHARDS)
    after = RECORDS + 1 if full else int(number)
    behind = b'],"MillisBehindLatest":0,"NextShardIterator":"%s:%d"}' % (name.encode(), after)
    return b'{"Records":[' + (PAGE if full else b"") + behind, full


def get_iterator(body):
    last = int(body.get("StartingSequenceNumber", 0))
    return {"ShardIterator": "%s:%d" % (body["ShardId"], last + 1)}


def answer(operation, body):
    if operation == "PutRecord":
        state["puts"] += 1
        return {"ShardId": "shardId-000000000000", "SequenceNumber": "1"}
    if operation == "Reset":
        return reset()
    return {
        "ListShards": {"Shards": [shard(i) for i in range(SHARDS)]},
        "DescribeStreamSummary": {"StreamDescriptionSummary": {"StreamStatus": "ACTIVE", "OpenShardCount": SHARDS}},
        "GetShardIterator": get_iterator(body) if operation == "GetShardIterator" else None,
        "TellState": state,
    }.get(operation, {})


def reset():
    with lock:
        for connection in sending:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        return {"reset": len(sending)}


def read(stream):
    line = stream.readline()
    if not line:
        return None, None
    operation, length = line.split()[0].decode(), 0
    while line.strip():
        line = stream.readline()
        name, _, value = line.decode().partition(":")
        if name.lower() == "content-length":
            length = int(value)
        if name.lower() == "x-amz-target":
            operation = value.strip().split(".")[-1]
    return operation, json.loads(stream.read(length) or "{}")


def send(connection, text, full):
    ok = b"HTTP/1.1 200 OK\r\n"
    with lock:
        state["begun"] += full
        if full:
            sending.add(connection)
    try:
        if full and CHUNKED:
            connection.sendall(ok + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(text))
            connection.sendall(text)
            connection.sendall(b"\r\n0\r\n\r\n")
        else:
            connection.sendall(ok + b"Content-Length: %d\r\n\r\n" % len(text))
            connection.sendall(text)
        with lock:
            state["sent"] += full
    finally:
        with lock:
            sending.discard(connection)


def serve(connection):
    if TLS:
        connection = context.wrap_socket(connection, server_side=True)
    stream = connection.makefile("rb")
    try:
        while True:
            operation, body = read(stream)
            if operation is None:
                return
            if operation == "GetRecords":
                text, full = get_records(body)
            else:
                text, full = json.dumps(answer(operation, body)).encode(), False
            send(connection, text, full)
    except OSError:  # the client has closed the connection, or it was reset
        return
    finally:
        stream.close()
        connection.close()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the shell reports one that is killed
if TLS:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["CERTS"] + "/server.pem", os.environ["CERTS"] + "/server.key")
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
print(os.getpid(), listener.getsockname()[1], sep="\n", flush=True)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
