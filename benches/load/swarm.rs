//! The subscribers: they connect, and read.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    Result, clock,
    frame::{self, CLOSE, PING, PONG},
    http,
    meter::Meter,
    template::{Template, Values},
};

/// How many may be connecting at the same time.
const CONNECTING: usize = 256;

/// How many connect from one address of a machine.
const FROM_ONE_ADDRESS: usize = 4_096;

/// One buffer for all sockets; what a socket leaves incomplete is kept with it.
const READ_BUFFER: usize = 256 * 1024;

/// The largest segment of those that do not read. With the one of the loopback, 64 KB, the system would take in megabytes for them
/// before the server sees that they are slow.
const SLOW_SEGMENT: u32 = 1_400;

/// How subscribers connect.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// The path of the upgrade; without, frames come at once.
    pub(crate) path: Option<Template>,
    pub(crate) conns: u32,
    pub(crate) rooms: u32,
    pub(crate) hello: Option<String>,
    /// They offer to compress.
    pub(crate) deflate: bool,
    /// The first so many do not read once they are connected.
    pub(crate) stalled: u32,
}

/// All subscribers of a run. The token of each is its number.
#[derive(Debug)]
pub(crate) struct Swarm {
    plan: Plan,
    subscribers: Vec<Subscriber>,
    connecting: usize,
    open: u32,
    /// What became of those that are not open.
    failed: u32,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Subscriber {
    socket: Option<TcpStream>,
    state: State,
    /// The beginning of a message whose end did not come yet.
    incomplete: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Upgrading,
    Open,
    Closed,
}

impl Swarm {
    pub(crate) fn new(plan: Plan) -> Self {
        let subscribers = Vec::with_capacity(plan.conns as usize);
        Self { plan, subscribers, connecting: 0, open: 0, failed: 0, buffer: vec![0; READ_BUFFER].into() }
    }

    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// Everybody is connected, or will never be.
    pub(crate) fn is_settled(&self) -> bool {
        self.open + self.failed == self.plan.conns
    }

    /// Starts connections, as many as may be in progress.
    pub(crate) fn connect(&mut self, registry: &Registry) -> Result<()> {
        while self.connecting < CONNECTING && self.subscribers.len() < self.plan.conns as usize {
            let index = self.subscribers.len();
            let mut socket = dial(self.plan.address, index, index < self.plan.stalled as usize)?;
            let token = Token(index);
            registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            self.subscribers.push(Subscriber {
                socket: Some(socket),
                state: State::Connecting,
                incomplete: Vec::new(),
            });
            self.connecting += 1;
        }
        Ok(())
    }

    /// Cuts everybody off: the server is told by a reset, as when a proxy goes down.
    pub(crate) fn cut(&mut self) -> Result<()> {
        for socket in self.subscribers.drain(..).filter_map(|subscriber| subscriber.socket) {
            SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        }
        (self.connecting, self.open, self.failed) = (0, 0, 0);
        Ok(())
    }

    /// Has everybody connect by another path, after they were cut off.
    pub(crate) fn come_back_by(&mut self, path: Template) {
        self.plan.path = Some(path);
    }

    /// Goes on with a subscriber whose socket became ready.
    pub(crate) fn ready(&mut self, index: usize, meter: &mut Meter) {
        let before = self.subscribers[index].state;
        if self.advance(index, meter).is_err() {
            let subscriber = &mut self.subscribers[index];
            (subscriber.socket, subscriber.state) = (None, State::Closed);
        }
        let after = self.subscribers[index].state;
        let pending = |state| matches!(state, State::Connecting | State::Upgrading);
        self.connecting -= usize::from(pending(before) && !pending(after));
        self.open += u32::from(before != State::Open && after == State::Open);
        self.open -= u32::from(before == State::Open && after != State::Open);
        self.failed += u32::from(before != State::Closed && after == State::Closed);
    }

    fn advance(&mut self, index: usize, meter: &mut Meter) -> Result<()> {
        let Self { plan, subscribers, buffer, .. } = self;
        let subscriber = &mut subscribers[index];
        let Some(socket) = &mut subscriber.socket else { return Ok(()) };
        if subscriber.state == State::Connecting {
            if let Some(error) = socket.take_error()? {
                return Err(error.into());
            }
            if socket.peer_addr().is_err() {
                return Ok(());
            }
            socket.set_nodelay(true)?;
            subscriber.state = State::Open;
            if let Some(path) = &plan.path {
                let mut filled = Vec::new();
                let i = u32::try_from(index)?;
                path.fill(Values { i, room: i % plan.rooms, ..Values::default() }, &mut filled);
                socket.write_all(http::upgrade(&String::from_utf8(filled)?, plan.deflate).as_bytes())?;
                subscriber.state = State::Upgrading;
            }
        }
        if subscriber.state == State::Open && index < plan.stalled as usize {
            return Ok(());
        }
        subscriber.read(buffer, plan, meter)
    }
}

/// Begins to connect. On one machine the clients come from several of its addresses: from a single one, the system would
/// spend more on finding a free port than all that is measured.
fn dial(address: SocketAddr, index: usize, slow: bool) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if slow {
        socket.set_tcp_mss(SLOW_SEGMENT)?;
    }
    if address.ip() == Ipv4Addr::LOCALHOST {
        let machine = u8::try_from(index / FROM_ONE_ADDRESS)?;
        // Ports of an earlier run are taken for a minute, and looking for free ones among them takes longer than connecting.
        let [.., net, subnet] = std::process::id().to_be_bytes();
        socket.bind(&SocketAddr::from(([127, net | 1, subnet, machine + 1], 0)).into())?;
    }
    // Servers that are measured are near, and the system connects without their help.
    socket.connect(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

impl Subscriber {
    /// Reads until the socket has no more: it is not reported again before that.
    fn read(&mut self, buffer: &mut [u8], plan: &Plan, meter: &mut Meter) -> Result<()> {
        loop {
            let kept = self.incomplete.len();
            if buffer.len() <= kept {
                return Err("a message is larger than the buffer".into());
            }
            let Some(socket) = &mut self.socket else { return Ok(()) };
            let bytes = match socket.read(&mut buffer[kept..]) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            buffer[..kept].copy_from_slice(&self.incomplete);
            let used = self.take(&buffer[..kept + bytes], plan, meter)?;
            self.incomplete.clear();
            if used < kept + bytes {
                self.incomplete.extend_from_slice(&buffer[used..kept + bytes]);
            } else if kept > 0 {
                self.incomplete = Vec::new();
            }
            // A buffer that is not full means that the socket was emptied.
            if kept + bytes < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Takes in what is complete, and answers how much that was.
    fn take(&mut self, bytes: &[u8], plan: &Plan, meter: &mut Meter) -> Result<usize> {
        let mut used = 0;
        if self.state == State::Upgrading {
            let Some(answer) = http::answer(bytes)? else { return Ok(0) };
            if answer.status != 101 {
                return Err(format!("no WebSocket: status {}", answer.status).into());
            }
            used = answer.length;
            self.state = State::Open;
            if let Some(hello) = &plan.hello {
                self.send(frame::TEXT, hello.as_bytes())?;
            }
        }
        let now = clock::now();
        while let Some(frame) = frame::first(&bytes[used..]) {
            match frame.opcode {
                PING => self.send(PONG, frame.payload)?,
                CLOSE => return Err("the server said goodbye".into()),
                // Engine.IO's ping.
                _ if frame.payload == b"2" => self.send(frame::TEXT, b"3")?,
                _ if frame.compressed => meter.take_compressed(frame.payload, now)?,
                _ => meter.take(frame.payload, now),
            }
            used += frame.length;
        }
        Ok(used)
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 8);
        frame::put_masked(opcode, payload, &mut frame);
        let Some(socket) = &mut self.socket else { return Ok(()) };
        // Clients of this bench say so little that it always fits.
        Ok(socket.write_all(&frame)?)
    }
}
