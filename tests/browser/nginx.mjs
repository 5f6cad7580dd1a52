/** The distribution's nginx, which has the service below a path that it takes off. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** As short a configuration as lets WebSockets through. Nothing of it is outside of `folder`. */
function configuration(folder, port, prefix, service) {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`);
  return `
    daemon off; master_process off; pid ${folder}/pid; error_log stderr; events {}
    http {
      access_log off; types { text/html html; } ${paths.join(' ')}
      map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      server {
        listen 127.0.0.1:${port};
        location ${prefix} {
          proxy_pass http://${service.host}/;
          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
          proxy_set_header Host $http_host;
        }
      }
    }`;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** An nginx on a port of its own. */
export class Nginx {
  #process;
  #folder;

  /**
   * @param {string} prefix the path that the service is below, with a slash at both ends
   * @param {URL} service
   */
  static async start(prefix, service) {
    const nginx = new Nginx();
    const port = await freePort();
    nginx.#folder = await mkdtemp(join(tmpdir(), 'nginx-'));
    await writeFile(join(nginx.#folder, 'conf'), configuration(nginx.#folder, port, prefix, service));
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
    const args = ['-p', nginx.#folder, '-c', 'conf', '-e', 'stderr'];
    nginx.#process = spawn('nginx', args, { env, stdio: ['ignore', 'ignore', 'inherit'] });
    await once(nginx.#process, 'spawn');
    nginx.url = `http://127.0.0.1:${port}${prefix}`;
    await nginx.#answers(new URL('/', nginx.url));
    return nginx;
  }

  /** Until it answers; with what does not matter. */
  async #answers(url) {
    while (this.#process.exitCode === null) {
      if (await fetch(url).catch(() => null)) return;
    }
    throw new Error(`nginx ended with ${this.#process.exitCode}`);
  }

  async stop() {
    const ended = once(this.#process, 'exit');
    this.#process.kill();
    await ended;
    await rm(this.#folder, { recursive: true });
  }
}
