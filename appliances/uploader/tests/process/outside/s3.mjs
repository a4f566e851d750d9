// A store that speaks S3: s3rver. Its keys are S3RVER and S3RVER.
import S3rver from 's3rver';

const server = new S3rver({
  address: '127.0.0.1',
  port: 0,
  silent: true,
  // The host is what the phone calls its site.
  vhostBuckets: false,
  directory: process.argv[2],
  configureBuckets: [{ name: 'photos' }],
});
const { port } = await server.run();
console.log(`listening on 127.0.0.1:${port}`);
