"""A service whose first connections die while they are kept.

python3 dying.py COUNT silent|reset LIFE: prints its pid and its port, a line each. The first COUNT connections that bring
a POST answer one each, all of them when the last has arrived. What comes on them later gets no answer, or a reset.
Later connections live; a GET on a living one is answered, and its connection closed. The operation TellDead returns
how many requests came on dead connections. The first credentials expire after LIFE seconds, later ones after an hour.
"""
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

COUNT, RESETS = int(sys.argv[1]), sys.argv[2] == "reset"
lock = threading.Condition()
arrived, posting, dead = 0, 0, []
lives = iter([int(sys.argv[3])])


def shard(i):
    return {"ShardId": "shardId-%012d" % i, "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
            "SequenceNumberRange": {"StartingSequenceNumber": "1"}}


def answer(operation, body):
    if operation == "GET":
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + next(lives, 3600)))
        return {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret", "Token": "token", "Expiration": when}
    stored = {"ShardId": "shardId-000000000000", "SequenceNumber": "1"}
    return {
        "PutRecord": stored,
        "PutRecords": {"FailedRecordCount": 0, "Records": [stored for _ in body.get("Records", [])]},
        "ListShards": {"Shards": [shard(0)]},
        "DescribeStreamSummary": {"StreamDescriptionSummary": {"StreamStatus": "ACTIVE", "OpenShardCount": 1}},
        "GetShardIterator": {"ShardIterator": "iterator"},
        "GetRecords": {"Records": [], "NextShardIterator": "iterator", "MillisBehindLatest": 0},
        "TellDead": {"operations": dead},
    }.get(operation, {})


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


def wait_for_all():
    global arrived
    with lock:
        arrived += 1
        lock.notify_all()
        lock.wait_for(lambda: arrived >= COUNT)


def number_of_posting():
    global posting
    with lock:
        posting += 1
        return posting


def serve(connection):
    stream, number = connection.makefile("rb"), 0
    while True:
        try:
            operation, body = read(stream)
        except ConnectionResetError:  # a client was killed
            return
        if operation is None:
            return
        if 0 < number <= COUNT:
            dead.append(operation)
            if not RESETS:
                continue
            stream.close()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return
        if number == 0 and operation != "GET":
            number = number_of_posting()
            if number <= COUNT:
                wait_for_all()
        text = b"" if operation == "SubscribeToShard" else json.dumps(answer(operation, body)).encode()
        closes = operation == "GET"
        connection.sendall(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n"
                           % (b"Connection: close\r\n" if closes else b"", len(text)) + text)
        if closes:
            stream.close()
            connection.close()
            return


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the shell reports one that is killed
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(os.getpid(), listener.getsockname()[1], sep="\n", flush=True)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
