//! The places for the connections of a listener: how many may be open, and who goes when there is none for a newcomer.
//!
//! A connection is *quiet* from when it is accepted until it says something that counts: a whole head of a request over HTTP,
//! a call that is accepted over gRPC. A quarter of the places may be quiet, and one address may have half of those. A newcomer
//! that finds them taken is let in, and the oldest quiet connection is closed: so whoever says nothing keeps nobody out.
//! Over HTTP, one that asks for nothing any more is *idle*; when all places are taken, the one that was idle longest goes.
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
pub(super) use standing::{Place, Standing};
use taken::Taken;

use crate::domain::counted;

/// Which part of the places may be quiet.
const QUIET_PART: usize = 4;

/// Which part of the places, and of the quiet ones, one address may have.
const ADDRESS_PART: usize = 2;

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
    /// Those of its address.
    QuietOfAddress,
    /// All places; one was quiet or idle.
    All,
    /// All places of its address; one was quiet or idle.
    Address,
    /// All places, and everybody is busy.
    Busy,
    /// All places of its address, and all are busy.
    BusyOfAddress,
}

impl Full {
    const ALL: [Self; 6] =
        [Self::Quiet, Self::QuietOfAddress, Self::All, Self::Address, Self::Busy, Self::BusyOfAddress];

    /// What it means for those that `setting` limits.
    fn text(self, setting: &str) -> Arc<str> {
        let text = match self {
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
    /// How many of all an address may have, if that is limited.
    of_address: Option<usize>,
    /// Whether whoever is idle may be closed for a newcomer.
    idle_yields: bool,
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
    taken: Mutex<Taken>,
    /// Whoever waits for a place is woken by it.
    freed: Notify,
}

impl Places {
    /// Places for connections of HTTP, which end when their clients like and may be closed while they are idle.
    pub(super) fn http(max: NonZeroUsize, proxies: &[IpNet], on_full: &OnFull) -> Self {
        let of_address = Some(part(max.get(), ADDRESS_PART));
        Self::new("MAX_HTTP_CONNECTIONS", max, of_address, true, proxies, on_full)
    }

    /// Places for connections of gRPC. Whoever made a call that was accepted keeps its place.
    pub(super) fn grpc(max: NonZeroUsize, proxies: &[IpNet], on_full: &OnFull) -> Self {
        Self::new("MAX_GRPC_CONNECTIONS", max, None, false, proxies, on_full)
    }

    fn new(
        setting: &str,
        max: NonZeroUsize,
        of_address: Option<usize>,
        idle_yields: bool,
        proxies: &[IpNet],
        on_full: &OnFull,
    ) -> Self {
        let (all, quiet) = (max.get(), part(max.get(), QUIET_PART));
        let rules = Rules { all, quiet, quiet_of_address: part(quiet, ADDRESS_PART), of_address, idle_yields };
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
        self.enter(address, false)
    }

    /// The place of another connection, although there may be free ones; `None` when nobody can be closed.
    pub(super) fn take_over(&self, address: IpAddr) -> Option<Place> {
        self.enter(address, true)
    }

    fn enter(&self, address: IpAddr, takes_over: bool) -> Option<Place> {
        let address = address.to_canonical();
        let counted = self.is_counted(address).then(|| counted(address));
        let (taken, full) = {
            let mut taken = self.0.taken.lock();
            match taken.make_room(&self.0.rules, counted, takes_over) {
                Ok(full) => (Some(taken.enter(counted)), full),
                Err(full) => (None, Some(full)),
            }
        };
        if let Some(full) = full {
            (self.0.on_full.0)(address, &self.0.texts[full as usize]);
        }
        Some(Place(Standing { places: Arc::clone(&self.0), seat: taken? }))
    }

    /// The same, and waits until there is one.
    pub(super) async fn wait(&self, address: IpAddr) -> Place {
        loop {
            if let Some(place) = self.take(address) {
                return place;
            }
            self.0.freed.notified().await;
        }
    }

    fn is_counted(&self, address: IpAddr) -> bool {
        !address.is_loopback() && !self.0.proxies.iter().any(|network| network.contains(&address))
    }
}

/// A part of `whole`, and one at the least.
fn part(whole: usize, parts: usize) -> usize {
    (whole / parts).max(1)
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
    /// Cancelled when the place was given to somebody else, or the connection is to end for another reason.
    closed: CancellationToken,
}

#[cfg(test)]
mod tests;
