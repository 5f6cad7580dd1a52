/** A proxy that has the service below a path, which it takes off, as a common nginx location does. */
import { once } from 'node:events';
import { createServer, request as ask } from 'node:http';

export class PrefixProxy {
  #prefix;
  #service;
  #http = createServer();
  #sockets = new Set();

  /** @param {string} prefix with a slash at both ends */
  static async start(prefix, service) {
    const proxy = new PrefixProxy();
    [proxy.#prefix, proxy.#service] = [prefix, service];
    proxy.#http.on('connection', (socket) => proxy.#sockets.add(socket));
    proxy.#http.on('request', (request, response) => proxy.#forward(request, response));
    proxy.#http.on('upgrade', (request, socket) => proxy.#tunnel(request, socket));
    proxy.#http.listen(0, '127.0.0.1');
    await once(proxy.#http, 'listening');
    return proxy;
  }

  get url() {
    return `http://127.0.0.1:${this.#http.address().port}${this.#prefix}`;
  }

  stop() {
    for (const socket of this.#sockets) socket.destroy();
    this.#http.close();
  }

  #ask({ url, method, headers }) {
    const { hostname, port } = this.#service;
    return ask({ hostname, port, method, headers, path: `/${url.slice(this.#prefix.length)}` });
  }

  #forward(request, response) {
    if (!request.url.startsWith(this.#prefix)) return response.writeHead(404).end();
    const asked = this.#ask(request);
    asked.on('response', (answer) => answer.pipe(response.writeHead(answer.statusCode, answer.headers)));
    asked.on('error', () => response.destroy());
    request.pipe(asked);
  }

  #tunnel(request, socket) {
    if (!request.url.startsWith(this.#prefix)) return socket.destroy();
    const asked = this.#ask(request);
    asked.on('upgrade', ({ rawHeaders }, service, head) => {
      const lines = rawHeaders.flatMap((name, index) => (index % 2 ? [] : [`${name}: ${rawHeaders[index + 1]}`]));
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
      socket.write(head);
      service.pipe(socket).pipe(service);
      for (const end of [service, socket]) end.on('error', () => {});
    });
    asked.on('response', () => socket.destroy());
    asked.on('error', () => socket.destroy());
    asked.end();
  }
}
