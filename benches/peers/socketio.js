'use strict';
// socket.io with its own rooms, over WebSocket alone. Port in the first argument.
const http = require('node:http');
const { Server } = require('socket.io');

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { event, payload, room } = JSON.parse(Buffer.concat(chunks));
    io.to(room).emit(event, payload);
    response.end('{}');
  });
});
server.keepAliveTimeout = 600_000;

const io = new Server(server, { transports: ['websocket'], perMessageDeflate: false, serveClient: false });
io.on('connection', (socket) => socket.join(socket.handshake.query.room));
server.listen(+process.argv[2], '127.0.0.1', 4096);
