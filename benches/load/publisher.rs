//! Publishing over HTTP, on time or as fast as it goes.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::{Interest, Registry, Token, net::TcpStream};

use crate::{
    Result,
    args::{Pace, Publish},
    clock, http,
    template::{Template, Values},
};

/// The tokens of publishers begin here; those of subscribers end before.
pub(crate) const FIRST_TOKEN: usize = 1 << 20;

/// How long nothing may arrive before what is on its way is given up.
const STALLED: u64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Publisher {
    path: Template,
    body: Template,
    rooms: u32,
    inflight: usize,
    connections: Vec<Connection>,
    pace: Option<Pace>,
    started: u64,
    sent: u64,
    /// How many answers came, and how many of them for what was sent in the window.
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    delivered: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// Requests whose answers are not here.
    waiting: usize,
    outgoing: VecDeque<u8>,
    incoming: Vec<u8>,
}

impl Publisher {
    pub(crate) fn connect(args: &Publish, rooms: u32, address: SocketAddr, registry: &Registry) -> Result<Self> {
        let mut connections = Vec::new();
        for number in 0..args.publishers as usize {
            let socket = std::net::TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(socket);
            registry.register(&mut socket, Token(FIRST_TOKEN + number), Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Connection { socket, waiting: 0, outgoing: VecDeque::new(), incoming: Vec::new() });
        }
        Ok(Self {
            path: Template::new(&args.to, args.pad),
            body: Template::new(&args.body, args.pad),
            rooms: args.into.unwrap_or(rooms).max(1),
            inflight: args.inflight as usize,
            connections,
            pace: None,
            started: 0,
            sent: 0,
            answered: 0,
            refused: 0,
            delivered: None,
        })
    }

    /// Publishes from `start` on.
    pub(crate) fn start(&mut self, pace: Pace, start: u64) {
        (self.pace, self.started, self.sent) = (Some(pace), start, 0);
        (self.answered, self.refused, self.delivered) = (0, 0, None);
    }

    pub(crate) fn stop(&mut self) {
        self.pace = None;
    }

    /// When the next notification is due, if that is known.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let rate = self.pace?.rate?;
        Some(self.started + clock::nanos(self.sent as f64 / rate))
    }

    /// Sends what is due at `now`. `rounds` is how many notifications have reached everybody so far.
    pub(crate) fn publish(&mut self, now: u64, rounds: u64) -> Result<()> {
        let Some(pace) = self.pace else { return Ok(()) };
        while self.may_send(pace, now, rounds) {
            let free = self.connections.iter().enumerate().min_by_key(|(_, connection)| connection.waiting);
            let Some((index, connection)) = free else { return Ok(()) };
            if connection.waiting >= self.inflight {
                return Ok(());
            }
            let ts = self.next_due().unwrap_or_else(clock::now);
            let room = u32::try_from(self.sent % u64::from(self.rooms))?;
            let request = self.request(Values { ts, seq: self.sent, room, i: room })?;
            self.sent += 1;
            let connection = &mut self.connections[index];
            connection.outgoing.extend(request);
            connection.waiting += 1;
            connection.flush()?;
        }
        Ok(())
    }

    fn may_send(&mut self, pace: Pace, now: u64, rounds: u64) -> bool {
        if pace.rate.is_some() {
            return self.next_due().is_some_and(|due| due <= now);
        }
        let (count, since) = self.delivered.get_or_insert((rounds, now));
        if *count != rounds {
            (*count, *since) = (rounds, now);
        }
        self.sent < rounds + u64::from(pace.window) || now - *since > STALLED
    }

    fn request(&self, values: Values) -> Result<Vec<u8>> {
        let (mut path, mut body, mut head) = (Vec::new(), Vec::new(), String::new());
        self.path.fill(values, &mut path);
        self.body.fill(values, &mut body);
        http::post(std::str::from_utf8(&path)?, body.len(), &mut head);
        let mut request = head.into_bytes();
        request.append(&mut body);
        Ok(request)
    }

    /// Goes on with a connection that became ready.
    pub(crate) fn ready(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        connection.flush()?;
        let mut buffer = [0; 16 * 1024];
        loop {
            match connection.socket.read(&mut buffer) {
                Ok(0) => return Err("the server closed a publisher's connection".into()),
                Ok(bytes) => connection.incoming.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        while let Some(answer) = http::answer(&connection.incoming)? {
            if answer.length > connection.incoming.len() {
                break;
            }
            connection.incoming.drain(..answer.length);
            connection.waiting -= 1;
            self.answered += 1;
            self.refused += u64::from(!(200..300).contains(&answer.status));
        }
        Ok(())
    }
}

impl Connection {
    fn flush(&mut self) -> Result<()> {
        while !self.outgoing.is_empty() {
            match self.socket.write(self.outgoing.as_slices().0) {
                Ok(bytes) => drop(self.outgoing.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
