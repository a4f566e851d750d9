// tus-js-client in all its ways: in chunks, in parallel parts, from a stream of unknown length, with the
// first bytes in the creation, and taken back half-way. Says what it sent.
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { Upload } from 'tus-js-client';

const endpoint = process.argv[2];

async function send(filename, bytes, source, options) {
  await new Promise((onSuccess, onError) => {
    const metadata = { filename, filetype: 'image/jpeg' };
    new Upload(source ?? bytes, { endpoint, metadata, onSuccess, onError, ...options }).start();
  });
  console.log(`has ${filename} ${createHash('sha256').update(bytes).digest('hex')}`);
}

await send('chunks', randomBytes(5_000_000), null, { chunkSize: 1_000_000 });
await send('parts', randomBytes(7_000_001), null, { parallelUploads: 3 });
const streamed = randomBytes(3_000_000);
const stream = Readable.from([streamed.subarray(0, 1_000_000), streamed.subarray(1_000_000)]);
await send('stream', streamed, stream, { uploadLengthDeferred: true, chunkSize: 700_000 });
await send('creation', randomBytes(100_000), null, { uploadDataDuringCreation: true });
await new Promise((resolve, reject) => {
  const upload = new Upload(randomBytes(2_000_000), {
    endpoint,
    chunkSize: 500_000,
    onChunkComplete: () => upload.abort(true).then(resolve, reject),
    onError: reject,
  });
  upload.start();
});
