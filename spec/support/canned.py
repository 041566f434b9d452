"""A service with shards of up to a million records that no put could make in time: their times of arrival are computed.

The name of a stream says how they arrived: see SHARDS. It prints its port and its pid. A call of the operation TellCalls
returns the calls of each shard so far, and forgets them. Records have the data of their index; MillisBehindLatest is
the time since the page's last record, as the service says it.
"""
import base64
import json
import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MILLION = 1000000


class Spread:
    """The times of `count` records, evenly from `begin` to `end` seconds before the stream was made. With `flows`, more
    come at the same pace."""

    def __init__(self, count, begin, end, flows=False):
        now = time.time()
        self.count, self.begin, self.flows = count, now - begin, flows
        self.step = (begin - end) / max(1, count)

    def __len__(self):
        return int((time.time() - self.begin) / self.step) if self.flows else self.count

    def __getitem__(self, i):
        return round(self.begin + self.step * i, 3)


class Chain:
    """Two spreads, one after the other."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def __len__(self):
        return len(self.first) + len(self.second)

    def __getitem__(self, i):
        return self.first[i] if i < len(self.first) else self.second[i - len(self.first)]


DAY = 86400
SHARDS = {
    "empty": lambda: [Spread(0, 1, 0)],
    "steady": lambda: [Spread(MILLION, DAY, 0, True)],  # a million a day
    "second": lambda: [Spread(MILLION, 1, 0, True)],  # a million a second
    "burst": lambda: [Chain(Spread(MILLION, 5 * DAY, DAY), Spread(200, 3605, 3600))],
    "flood": lambda: [Spread(MILLION, 4600, 3600)],  # a thousand a second, until an hour ago
    "few": lambda: [Spread(3, 2 * DAY, DAY)],
    "large": lambda: [Spread(10, 20, 0) for _ in range(24)],
    "thousand": lambda: [Spread(2000 if i % 10 else 0, DAY, i) for i in range(1000)],
}
LARGE = b"x" * (MILLION - 100)  # what the records of "large" have
shards, calls = {}, {}


def lower_bound(times, wanted):
    low, high = 0, len(times)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if times[middle] < wanted else (low, middle)
    return low


def list_shards(request):
    stream = request["StreamName"]
    if stream not in shards:
        shards[stream] = SHARDS[stream]()
    return {"Shards": [{
        "ShardId": "shardId-%012d" % i, "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
        "SequenceNumberRange": {"StartingSequenceNumber": "1"},
    } for i in range(len(shards[stream]))]}


def get_shard_iterator(request):
    stream, shard = request["StreamName"], int(request["ShardId"][8:])
    times = shards[stream][shard]
    kind = request["ShardIteratorType"]
    if kind == "AT_TIMESTAMP":
        index = lower_bound(times, request["Timestamp"])
    elif kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        index = int(request["StartingSequenceNumber"]) - (kind == "AT_SEQUENCE_NUMBER")
    else:
        index = 0 if kind == "TRIM_HORIZON" else len(times)
    note(stream, shard)
    return {"ShardIterator": json.dumps([stream, shard, index])}


def get_records(request):
    stream, shard, index = json.loads(request["ShardIterator"])
    times = shards[stream][shard]
    length = len(times)
    end = min(length, index + request.get("Limit", 10000))
    note(stream, shard)
    return {
        "Records": [{
            "Data": base64.b64encode(LARGE if stream == "large" else b"%d" % (i + 1)).decode(),
            "PartitionKey": "k", "SequenceNumber": str(i + 1), "ApproximateArrivalTimestamp": times[i],
        } for i in range(index, end)],
        "NextShardIterator": json.dumps([stream, shard, end]),
        "MillisBehindLatest": int((time.time() - times[end - 1]) * 1000) if end < length else 0,
    }


def note(stream, shard):
    of_stream = calls.setdefault(stream, {})
    of_stream[shard] = of_stream.get(shard, 0) + 1


def tell_calls(request):
    counts = calls.pop(request["StreamName"], {}).values()
    return {"most": max(counts, default=0), "all": sum(counts)}


OPERATIONS = {"ListShards": list_shards, "GetShardIterator": get_shard_iterator, "GetRecords": get_records,
              "TellCalls": tell_calls}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = OPERATIONS[self.headers["X-Amz-Target"].split(".")[1]]
        answer = json.dumps(operation(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the shell reports one that is killed
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], os.getpid(), flush=True)
server.serve_forever()
