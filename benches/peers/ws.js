'use strict';
// The npm package `ws`: a room is a set of sockets, a notification is serialised once. Port in the first argument.
const http = require('node:http');
const { WebSocketServer } = require('ws');

const rooms = new Map();

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { event, payload, room } = JSON.parse(Buffer.concat(chunks));
    const text = Buffer.from(JSON.stringify({ event, payload }));
    for (const socket of rooms.get(room) ?? []) socket.send(text, { binary: false });
    response.end('{}');
  });
});
server.keepAliveTimeout = 600_000;

new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket, request) => {
  const room = new URL(request.url, 'http://bench').searchParams.get('room');
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room).add(socket);
  socket.on('close', () => rooms.get(room).delete(socket));
});
server.listen(+process.argv[2], '127.0.0.1', 4096);
