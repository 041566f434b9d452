// aws-sdk-js puts or reads what a spec compares with ours.
//   node sdk.mjs ENDPOINT STREAM write FILE    FILE: [{data: base64, key, hash}]; prints [{shard, sequence}]
//   node sdk.mjs ENDPOINT STREAM read          prints [{data: base64, key, shard, sequence, time}]
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.env.NODE_MODULES}/`);
const sdk = require('@aws-sdk/client-kinesis');
const { NodeHttpHandler } = require('@smithy/node-http-handler');

const [endpoint, StreamName, what, file] = process.argv.slice(2);
const client = new sdk.KinesisClient({
  endpoint,
  region: 'us-east-1',
  credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' },
  requestHandler: new NodeHttpHandler(),
});
const call = (name, input) => client.send(new sdk[`${name}Command`](input));

async function write() {
  const results = [];
  for (const { data, key, hash } of JSON.parse(readFileSync(file))) {
    const answer = await call('PutRecord', {
      StreamName,
      Data: Buffer.from(data, 'base64'),
      PartitionKey: key,
      ExplicitHashKey: hash,
    });
    results.push({ shard: answer.ShardId, sequence: answer.SequenceNumber });
  }
  return results;
}

async function read() {
  const records = [];
  for (const shard of (await call('ListShards', { StreamName })).Shards) {
    let { ShardIterator } = await call('GetShardIterator', {
      StreamName,
      ShardId: shard.ShardId,
      ShardIteratorType: 'TRIM_HORIZON',
    });
    for (let behind = 1; ShardIterator && behind > 0; ) {
      const page = await call('GetRecords', { ShardIterator });
      for (const record of page.Records) {
        records.push({
          data: Buffer.from(record.Data).toString('base64'),
          key: record.PartitionKey,
          shard: shard.ShardId,
          sequence: record.SequenceNumber,
          time: record.ApproximateArrivalTimestamp.getTime() / 1000,
        });
      }
      ShardIterator = page.NextShardIterator;
      behind = page.MillisBehindLatest;
    }
  }
  return records;
}

console.log(JSON.stringify(what === 'write' ? await write() : await read()));
