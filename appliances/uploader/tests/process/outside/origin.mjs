// An origin that speaks tus: @tus/server as its README starts it. Says what it has, whole.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { EVENTS, Server } from '@tus/server';
import { FileStore } from '@tus/file-store';

const directory = process.argv[2];
const server = new Server({ path: '/files', datastore: new FileStore({ directory }) });
server.on(EVENTS.POST_FINISH, (_request, _response, upload) => {
  const digest = createHash('sha256').update(readFileSync(`${directory}/${upload.id}`)).digest('hex');
  console.log(`has ${upload.metadata.filename} ${digest}`);
});
const listening = server.listen({ host: '127.0.0.1', port: 0 }, () =>
  console.log(`listening on 127.0.0.1:${listening.address().port}`));
