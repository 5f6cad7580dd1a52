//! The file descriptors that the process may have. Each connection takes one, and so do the journal's files: were connections to
//! take the last, nobody could be told so, and the journal could not open a file.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    num::NonZeroUsize,
    thread::available_parallelism,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::listen::{Options, tally::Tally};

/// How many are kept back for files, for what the service itself asks others, and for telling newcomers that there is no room;
/// and how many more for each core, for a core has a thread that reads the journal.
const RESERVE: u64 = 64;
const RESERVE_PER_CORE: u64 = 4;

/// The part of all descriptors that gRPC may have when HTTP has taken the others: publishers get through though browsers do not.
const GRPC_PART: u64 = 32;

/// How long accepting pauses when a connection cannot be accepted for a reason of the system's.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no room, and what to do.
const SHORT: &str = "the process has hardly any file descriptors left: idle connections are closed for newcomers, and where there is none, \
     newcomers are refused; raise its limit (`ulimit -Hn`, LimitNOFILE), or lower MAX_CONNECTIONS and MAX_HTTP_CONNECTIONS";

/// What a listener may take of the descriptors.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// The first that it may not have. The system gives the lowest that is free: one that is no lower says that all below are taken.
    end: u64,
    short: Tally,
    failed: Tally,
}

impl Descriptors {
    /// What HTTP may take.
    pub(super) fn for_http(options: &Options) -> Self {
        Self::until(shares(granted(), options.max_grpc_connections).0)
    }

    /// What gRPC may take.
    pub(super) fn for_grpc(options: &Options) -> Self {
        Self::until(shares(granted(), options.max_grpc_connections).1)
    }

    fn until(end: u64) -> Self {
        Self { end, short: Tally::default(), failed: Tally::default() }
    }

    /// Accepts the next connection, however long that takes.
    pub(super) async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr) {
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    if let Some(times) = self.failed.rest() {
                        tracing::info!(times, "connections are accepted again");
                    }
                    return accepted;
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    if let Some(times) = self.failed.count() {
                        tracing::error!(%error, times, "a connection could not be accepted");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Whether `stream`, which was just accepted, may stay.
    pub(super) fn have_room_for(&self, stream: &TcpStream) -> bool {
        let has_room = number(stream) < self.end;
        if !has_room && let Some(times) = self.short.count() {
            tracing::warn!(times, "{SHORT}");
        }
        has_room
    }
}

/// What is wrong with how many connections there may be, of which `sockets` are WebSockets: more than the process may have
/// descriptors for.
pub(super) fn warning(options: &Options, sockets: NonZeroUsize) -> Option<String> {
    let counts = [sockets, options.max_http_connections, options.max_grpc_connections];
    let asked = counts.into_iter().fold(reserve(), |sum, count| sum.saturating_add(count.get() as u64));
    let limit = at_most()?;
    (limit < asked).then(|| {
        format!(
            "MAX_CONNECTIONS, MAX_HTTP_CONNECTIONS and MAX_GRPC_CONNECTIONS: with the service's own files they take {asked} file \
             descriptors, and the process may have {limit}: newcomers are refused before they are reached; raise the limit \
             (`ulimit -Hn`, LimitNOFILE), or lower them"
        )
    })
}

/// Where HTTP's and gRPC's descriptors end, of `granted` ones.
fn shares(granted: u64, max_grpc: NonZeroUsize) -> (u64, u64) {
    let end = granted - reserve().min(granted / 4);
    let grpc = (granted / GRPC_PART).min(max_grpc.get() as u64);
    (end.saturating_sub(grpc), end)
}

fn reserve() -> u64 {
    RESERVE + RESERVE_PER_CORE * available_parallelism().map_or(1, |cores| cores.get() as u64)
}

/// A connection that was gone before it was accepted is nothing; running out of descriptors is, and passes.
fn is_of_the_connection(error: &io::Error) -> bool {
    [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused].contains(&error.kind())
}

/// How many descriptors the process may have as it is.
#[cfg(unix)]
fn granted() -> u64 {
    rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX)
}

/// How many it may ask for, as it does at the start.
#[cfg(unix)]
fn at_most() -> Option<u64> {
    rlimit::Resource::NOFILE.get_hard().ok()
}

#[cfg(unix)]
fn number(stream: &TcpStream) -> u64 {
    use std::os::fd::AsRawFd;

    u64::try_from(stream.as_raw_fd()).unwrap_or(0)
}

/// Elsewhere there are no numbers to go by.
#[cfg(not(unix))]
fn granted() -> u64 {
    u64::MAX
}

#[cfg(not(unix))]
fn at_most() -> Option<u64> {
    None
}

#[cfg(not(unix))]
fn number(_: &TcpStream) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_leaves_some_to_grpc_and_both_leave_some_to_files() {
        let thousand = NonZeroUsize::new(1_000).expect("not zero");
        let (http, grpc) = shares(20_000, thousand);
        assert_eq!((grpc, http), (20_000 - reserve(), 20_000 - reserve() - 625));
        assert_eq!(shares(64, thousand), (46, 48));
        assert_eq!(shares(1 << 20, NonZeroUsize::MIN), ((1 << 20) - reserve() - 1, (1 << 20) - reserve()));
        assert_eq!(shares(0, thousand), (0, 0));
    }
}
