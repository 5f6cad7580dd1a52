//! The places for the connections of a listener: how many may be open, and who goes when there is none for a newcomer.
//!
//! A connection is *quiet* from when it is accepted until it says something that counts: a whole head of a request over HTTP,
//! a call that is accepted over gRPC. A quarter of the places may be quiet, and one address may have half of those, though not
//! too few for those who come at once. A newcomer that finds them taken is let in, and the oldest quiet connection is closed:
//! so whoever says nothing keeps nobody out. One that asks for nothing any more is *idle*, and so is one that takes nothing of
//! its answers; when all places are taken, or all that its address may have, the one that was idle longest goes.
//! Clients behind a trusted proxy share its address, and those of this machine share one: neither is counted by address.

mod standing;
mod taken;

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicUsize},
};

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use standing::Turn;
pub(super) use standing::{ConnectionStanding, Place};
use taken::TakenPlaces;

use crate::domain::counted;

/// Which part of the places may be quiet.
const QUIET_PART: usize = 4;

/// Which part of the places, and of the quiet ones, one address may have.
const ADDRESS_PART: usize = 2;

/// How many may be quiet however few places there are, and how many of one address, if so many may be quiet at all: several
/// clients of one machine come at once, and none is to go before it could speak.
const FEWEST_QUIET: usize = 4;
const FEWEST_OF_ADDRESS: usize = 8;

type Tell = dyn Fn(IpAddr, &Arc<str>) + Send + Sync;

/// Is told of each newcomer that found places taken: its address, and what is full and what can be done.
#[derive(Clone)]
pub struct OnFull(Arc<Tell>);

impl OnFull {
    /// Calls `tell` for each of them.
    pub fn new(tell: impl Fn(IpAddr, &Arc<str>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for OnFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFull")
    }
}

/// What a newcomer found full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    /// The places of quiet connections.
    Quiet,
    /// The places of quiet connections of its address.
    QuietOfAddress,
    /// All places; one was quiet or idle.
    All,
    /// All places of its address; one was quiet or idle.
    Address,
    /// All places, and everybody is busy.
    Busy,
    /// All places of its address, and all are busy.
    BusyOfAddress,
    /// All file descriptors of the process, and everybody is busy.
    Descriptors,
}

impl Full {
    const ALL: [Self; 7] = [
        Self::Quiet,
        Self::QuietOfAddress,
        Self::All,
        Self::Address,
        Self::Busy,
        Self::BusyOfAddress,
        Self::Descriptors,
    ];

    /// What it means for those that `setting` limits.
    fn text(self, setting: &str) -> Arc<str> {
        let text = match self {
            Self::Descriptors => {
                return "file descriptors: the process has hardly any left, and all connections are busy; new ones must come again; raise its limit (`ulimit -Hn`, LimitNOFILE)".into();
            }
            Self::Quiet => {
                "a quarter of the connections have asked for nothing yet, and no more may; the oldest of them is closed for each new one"
            }
            Self::QuietOfAddress => {
                "an eighth of the connections are of this address and have asked for nothing yet, and no more may; the oldest of them is closed for each new one"
            }
            Self::All => {
                "all connections are taken; one that asks for nothing is closed for each new one; raise it if there are so many clients"
            }
            Self::Address => {
                "this address has half of all connections; one that asks for nothing is closed for each new one; name it in TRUSTED_PROXIES if it is a proxy"
            }
            Self::Busy => {
                "all connections are taken and busy, and new ones must wait or come again; raise it if there are so many clients"
            }
            Self::BusyOfAddress => {
                "this address has half of all connections, which are busy, and new ones must come again; name it in TRUSTED_PROXIES if it is a proxy"
            }
        };
        format!("{setting}: {text}").into()
    }
}

/// How many places there are for whom.
#[derive(Debug)]
struct Rules {
    all: usize,
    quiet: usize,
    quiet_of_address: usize,
    /// How many of all an address may have.
    of_address: usize,
}

/// The places of a listener.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Rules,
    proxies: Box<[IpNet]>,
    texts: [Arc<str>; Full::ALL.len()],
    on_full: OnFull,
    taken: Mutex<TakenPlaces>,
    /// Whoever waits for a place is woken by it.
    freed: Notify,
}

impl Places {
    /// Places for connections of HTTP.
    pub(super) fn http(max: NonZeroUsize, proxies: &[IpNet], on_full: &OnFull) -> Self {
        Self::new("MAX_HTTP_CONNECTIONS", max, proxies, on_full)
    }

    /// Places for connections of gRPC.
    pub(super) fn grpc(max: NonZeroUsize, proxies: &[IpNet], on_full: &OnFull) -> Self {
        Self::new("MAX_GRPC_CONNECTIONS", max, proxies, on_full)
    }

    fn new(setting: &str, max: NonZeroUsize, proxies: &[IpNet], on_full: &OnFull) -> Self {
        let all = max.get();
        let quiet = part(all, QUIET_PART, FEWEST_QUIET);
        let quiet_of_address = part(quiet, ADDRESS_PART, FEWEST_OF_ADDRESS);
        let rules = Rules { all, quiet, quiet_of_address, of_address: part(all, ADDRESS_PART, FEWEST_OF_ADDRESS) };
        Self(Arc::new(Inner {
            rules,
            proxies: proxies.into(),
            texts: Full::ALL.map(|full| full.text(setting)),
            on_full: on_full.clone(),
            taken: Mutex::default(),
            freed: Notify::new(),
        }))
    }

    /// A place for a newcomer from `address`, for which another connection may be closed; `None` when nobody can be.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        self.enter(address, false).ok()
    }

    /// The place of another connection, although there may be free ones; `None` when nobody can be closed.
    pub(super) fn take_over(&self, address: IpAddr) -> Option<Place> {
        self.enter(address, true).ok()
    }

    fn enter(&self, address: IpAddr, takes_over: bool) -> Result<Place, Full> {
        let address = address.to_canonical();
        let counted = self.is_counted(address).then(|| counted(address));
        let (taken, full) = {
            let mut taken = self.0.taken.lock();
            match taken.make_room(&self.0.rules, counted, takes_over) {
                Ok(full) => (Ok(taken.enter(counted)), full),
                Err(full) => (Err(full), Some(full)),
            }
        };
        if let Some(full) = full {
            (self.0.on_full.0)(address, &self.0.texts[full as usize]);
        }
        taken.map(|seat| Place(ConnectionStanding { places: Arc::clone(&self.0), seat }))
    }

    /// A place for a newcomer, which waits until there is one; `None` when its address has all that it may have, for others are
    /// not to wait for that.
    pub(super) async fn wait(&self, address: IpAddr) -> Option<Place> {
        loop {
            match self.enter(address, false) {
                Ok(place) => return Some(place),
                Err(Full::BusyOfAddress) => return None,
                Err(_) => self.0.freed.notified().await,
            }
        }
    }

    fn is_counted(&self, address: IpAddr) -> bool {
        !address.is_loopback() && !self.0.proxies.iter().any(|network| network.contains(&address))
    }
}

/// A part of `whole`, and `fewest` at the least if there are so many.
fn part(whole: usize, parts: usize, fewest: usize) -> usize {
    (whole / parts).max(fewest).min(whole)
}

/// A connection that has a place.
#[derive(Debug)]
struct Seat {
    id: u64,
    /// Its address, if it is counted.
    address: Option<IpAddr>,
    /// How many turns began.
    begun: AtomicUsize,
    /// How many of them have not ended.
    in_hand: AtomicUsize,
    /// Cancelled when the place was given to somebody else.
    closed: CancellationToken,
}

#[cfg(test)]
mod tests;
