"""botocore puts or reads what a spec compares with ours.

python3 sdk.py ENDPOINT STREAM write FILE    FILE: [{data: base64, key, hash}]; prints [{shard, sequence}]
python3 sdk.py ENDPOINT STREAM read          prints [{data: base64, key, shard, sequence, time}]
"""
import base64
import json
import sys

import botocore.session

endpoint, stream, what = sys.argv[1:4]
client = botocore.session.get_session().create_client(
    "kinesis", endpoint_url=endpoint, region_name="us-east-1",
    aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret")


def write(file):
    with open(file, encoding="utf-8") as opened:
        samples = json.load(opened)
    for sample in samples:
        more = {"ExplicitHashKey": sample["hash"]} if "hash" in sample else {}
        answer = client.put_record(StreamName=stream, Data=base64.b64decode(sample["data"]),
                                   PartitionKey=sample["key"], **more)
        yield {"shard": answer["ShardId"], "sequence": answer["SequenceNumber"]}


def read():
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"],
            ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        behind = 1
        while iterator and behind > 0:
            page = client.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                yield {"data": base64.b64encode(record["Data"]).decode(),
                       "key": record["PartitionKey"], "shard": shard["ShardId"],
                       "sequence": record["SequenceNumber"],
                       "time": record["ApproximateArrivalTimestamp"].timestamp()}
            iterator, behind = page.get("NextShardIterator"), page["MillisBehindLatest"]


print(json.dumps(list(write(sys.argv[4]) if what == "write" else read())))
