// Aggregates by aws-kinesis-agg. FILE holds {records: [[{data: base64, key, hash}]], aggregates: [base64],
// messages: [base64], keys: [text]}; prints {aggregates: [base64], records: [[{data, key, hash}] or null],
// frames: [the messages with magic and MD5, base64], hashes: [the MD5 of a key as a decimal number]}.
//   node aggregates.mjs FILE
import { createRequire } from 'node:module';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.env.NODE_MODULES}/`);
const { RecordAggregator, deaggregateSync } = require('aws-kinesis-agg');
const { AggregatedRecord, magic } = require('aws-kinesis-agg/lib/common.js');

const md5 = (bytes) => createHash('md5').update(bytes).digest();

function aggregate(records) {
  const aggregator = new RecordAggregator();
  for (const { data, key, hash } of records) {
    aggregator.addUserRecord({ data: Buffer.from(data, 'base64'), partitionKey: key, explicitHashKey: hash });
  }
  return aggregator.build().data.toString('base64');
}

function deaggregate(data) {
  try {
    let records;
    deaggregateSync({ data }, true, (err, list) => {
      if (err) throw err;
      records = list;
    });
    // a record without a hash key is said to have the first one in the table
    const message = AggregatedRecord.decode(Buffer.from(data, 'base64').subarray(4, -16));
    const has = (i) => Object.hasOwn(message.records[i], 'explicit_hash_key_index');
    return records.map(({ data: bytes, partitionKey: key, explicitPartitionKey: hash }, i) => {
      if (key === undefined || (has(i) && hash === undefined)) throw new Error('no such key');
      return has(i) ? { data: bytes, key, hash } : { data: bytes, key };
    });
  } catch {
    return null;
  }
}

function frame(message) {
  const bytes = Buffer.from(message, 'base64');
  return Buffer.concat([magic, bytes, md5(bytes)]).toString('base64');
}

const list = (given) => Object.values(given); // an empty one comes as {}
const asked = JSON.parse(readFileSync(process.argv[2]));
console.log(JSON.stringify({
  aggregates: list(asked.records).map(aggregate),
  records: list(asked.aggregates).map(deaggregate),
  frames: list(asked.messages).map(frame),
  hashes: list(asked.keys).map((key) => BigInt(`0x${md5(key).toString('hex')}`).toString()),
}));
