// A service of SHARDS closed shards with a record each, and as many open children of theirs, for lineage.lua.
// Prints its port, and ends with its standard input.
import { createServer } from "node:http";

const RANGE = { StartingHashKey: "0", EndingHashKey: "340282366920938463463374607431768211455" };
const id = (i) => `shardId-${String(i).padStart(12, "0")}`;

function list(shards, start) {
  const Shards = [];
  for (let i = start; i < Math.min(start + 1000, 2 * shards); i++) {
    const closed = i < shards;
    Shards.push({
      ShardId: id(i), HashKeyRange: RANGE, ...(closed ? {} : { ParentShardId: id(i - shards) }),
      SequenceNumberRange: { StartingSequenceNumber: "1", ...(closed ? { EndingSequenceNumber: "9" } : {}) },
    });
  }
  return { Shards, ...(start + 1000 < 2 * shards ? { NextToken: `${shards} ${start + 1000}` } : {}) };
}

const answers = {
  ListShards: ({ StreamName, NextToken }) => list(...(NextToken ?? `${StreamName.slice(8)} 0`).split(" ").map(Number)),
  GetShardIterator: ({ StreamName, ShardId }) => ({ ShardIterator: `${StreamName.slice(8)} ${Number(ShardId.slice(8))} 0` }),
  GetRecords: ({ ShardIterator }) => {
    const [shards, shard, read] = ShardIterator.split(" ").map(Number);
    const Records = read ? [] : [{
      Data: "YQ==", PartitionKey: "k", SequenceNumber: "5", ApproximateArrivalTimestamp: 1,
    }];
    const tail = shard < shards
      ? { ChildShards: [{ ShardId: id(shard + shards), ParentShards: [id(shard)], HashKeyRange: RANGE }] }
      : { NextShardIterator: `${shards} ${shard} 1` };
    return { Records, MillisBehindLatest: 0, ...tail };
  },
};

const server = createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const operation = request.headers["x-amz-target"].split(".")[1];
    const body = JSON.stringify(answers[operation](JSON.parse(Buffer.concat(pieces))));
    response.writeHead(200, { "Content-Type": "application/x-amz-json-1.1", "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
