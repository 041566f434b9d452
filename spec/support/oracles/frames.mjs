// The messages in FILE, a list of {headers: {name: text}, body: base64}, as @smithy's codec frames them: prints a list
// of base64. Each gets a header of every type beside its own.
//   node frames.mjs FILE
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(`${process.env.NODE_MODULES}/`);
const { EventStreamCodec, Int64 } = require('@smithy/core/event-streams');

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes).toString('utf8'),
  (text) => new Uint8Array(Buffer.from(text, 'utf8')),
);
const more = {
  yes: { type: 'boolean', value: true },
  no: { type: 'boolean', value: false },
  byte: { type: 'byte', value: -1 },
  short: { type: 'short', value: -2 },
  integer: { type: 'integer', value: -3 },
  long: { type: 'long', value: Int64.fromNumber(-4) },
  binary: { type: 'binary', value: new Uint8Array([0, 1, 2]) },
  time: { type: 'timestamp', value: new Date(1767225600123) },
  uuid: { type: 'uuid', value: '01234567-89ab-cdef-0123-456789abcdef' },
};
const frames = JSON.parse(readFileSync(process.argv[2])).map(({ headers, body }) => {
  const typed = { ...more };
  for (const [name, value] of Object.entries(headers)) typed[name] = { type: 'string', value };
  const bytes = codec.encode({ headers: typed, body: new Uint8Array(Buffer.from(body, 'base64')) });
  return Buffer.from(bytes).toString('base64');
});
console.log(JSON.stringify(frames));
