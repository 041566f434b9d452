// Where aws-sdk-js sends each of the calls in FILE, a list of its endpoint parameters: prints a list of URLs, null
// for those it refuses.
//   node endpoints.mjs FILE
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.env.NODE_MODULES}/`);
const { KinesisClient } = require('@aws-sdk/client-kinesis');

const { endpointProvider } = new KinesisClient({ region: 'us-east-1' }).config;
const answers = JSON.parse(readFileSync(process.argv[2])).map((asked) => {
  try {
    return endpointProvider(asked).url.href.replace(/\/$/, '');
  } catch {
    return null;
  }
});
console.log(JSON.stringify(answers));
