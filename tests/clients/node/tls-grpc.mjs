// Publishes over gRPC and TLS, one after the other: a line of JSON for each answer.
//
//     node tls-grpc.mjs ADDRESS TOKEN SIZE...
import { readFileSync } from 'node:fs';
import { credentials, loadPackageDefinition, Metadata, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const [address, token, ...sizes] = process.argv.slice(2);
const definition = loadSync('exposia/notifications/v1/notifications.proto', { includeDirs: ['proto'], longs: String });
const { NotificationService } = loadPackageDefinition(definition).exposia.notifications.v1;
const client = new NotificationService(address, credentials.createSsl(readFileSync(process.env.CA_FILE)));
const metadata = new Metadata();
metadata.set('authorization', `Bearer ${token}`);

function publish(size) {
  const request = { event: 'test.tls', payloadJson: Buffer.from(JSON.stringify({ filler: 'x'.repeat(size) })) };
  return new Promise((resolve) => {
    client.Publish(request, metadata, { deadline: Date.now() + 30_000 }, (error) => {
      resolve({ status: status[error?.code ?? status.OK], body: error?.details ?? '' });
    });
  });
}

for (const size of sizes.map(Number)) console.log(JSON.stringify(await publish(size)));
client.close();
