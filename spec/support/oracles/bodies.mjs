// What aws-sdk-js sends for each call in FILE, a list of [operation, input]: prints a list of [body, path-less URL].
// In the inputs, {"$blob": base64} and {"$time": seconds} stand for what JSON does not have.
//   node bodies.mjs FILE
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.env.NODE_MODULES}/`);
const sdk = require('@aws-sdk/client-kinesis');

const sent = [];
const client = new sdk.KinesisClient({
  endpoint: 'http://127.0.0.1:9',
  region: 'us-east-1',
  maxAttempts: 1,
  credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' },
  requestHandler: {
    handle: async (request) => {
      sent.push(request.body);
      throw new Error('it was only to be seen');
    },
  },
});

function revive(key, value) {
  if (value && value.$blob !== undefined) return Buffer.from(value.$blob, 'base64');
  if (value && value.$time !== undefined) return new Date(value.$time * 1000);
  return value;
}

for (const [operation, input] of JSON.parse(readFileSync(process.argv[2]), revive)) {
  const before = sent.length;
  await client.send(new sdk[`${operation}Command`](input)).catch(() => {});
  if (sent.length === before) sent.push(null);
}
console.log(JSON.stringify(sent.map((body) => (body === null ? null : new TextDecoder().decode(body)))));
