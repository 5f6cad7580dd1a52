// Publishes each call on standard input, one a line, with a TypeScript snippet: one answer a line.
//
// A call is {event, payload, key}; an answer is {payload, answer}, where `payload` is the text that this language makes
// of the payload, and so the one that subscribers must receive. A call without a payload is made with one that is no JSON.
import { createInterface } from 'node:readline';
import { NotificationService } from './rest.js';
import { GrpcNotificationService } from './grpc.js';

interface Call {
  event: string;
  payload?: object;
  key: string;
}

const grpc = process.argv[2] === 'grpc' ? new GrpcNotificationService() : null;
const service = grpc ?? new NotificationService();
for await (const line of createInterface(process.stdin)) {
  const { event, payload, key } = JSON.parse(line) as Call;
  const answer = await service.enviarNotificacion(event, payload ?? { id: 5n }, key);
  console.log(JSON.stringify({ payload: JSON.stringify(payload ?? null), answer }));
}
grpc?.onModuleDestroy();
