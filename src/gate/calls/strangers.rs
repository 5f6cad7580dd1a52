//! The calls of those who have no credential: health answers anybody, and so does reflection where reading is open. So they are
//! few at a time, and the oldest gives way to the newest. A call that is answered at once gets through, however many others were
//! begun to take up room.
//!
//! A call that is ended goes on holding what it holds until its client takes the end: over HTTP/2 nobody but the client, or the end
//! of the connection, ends a stream whose window is closed. So these are counted as well, and when there are too many, the
//! connection of the oldest is closed.

use std::{collections::BTreeMap, net::IpAddr, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::gate::{HangUp, address};

/// How many calls there may be of one kind. Behind the loopback address may be anybody, so it is not counted as one.
struct Bounds {
    of_connection: usize,
    of_address: usize,
    all: usize,
}

/// How many are open.
const OPEN: Bounds = Bounds { of_connection: 8, of_address: 128, all: 256 };

/// How many are ended and not gone. They are more than those that are open: a client that begins many at once and reads all has them
/// for a moment.
const ENDED: Bounds = Bounds { of_connection: 256, of_address: 512, all: 1_024 };

/// The calls that there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Strangers(Arc<Mutex<Calls>>);

/// Each by its age, the oldest first.
#[derive(Debug, Default)]
struct Calls {
    begun: u64,
    open: BTreeMap<u64, Call>,
    ended: BTreeMap<u64, Call>,
}

#[derive(Debug)]
struct Call {
    origin: Origin,
    over: CancellationToken,
}

/// Where a call comes from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The other end of its connection; none if that is a proxy's, which brings the calls of many.
    pub(super) connection: Option<SocketAddr>,
    /// The address of the client.
    pub(super) address: IpAddr,
    /// Ends the connection.
    pub(super) hang_up: Option<HangUp>,
}

impl Origin {
    /// What closes its connection, if that has no calls of others.
    pub(super) fn closer(self) -> Option<HangUp> {
        self.connection.and(self.hang_up)
    }
}

/// The place of one call, until it is dropped: by the call, and by the bytes that its client has not taken.
#[derive(Debug)]
pub(super) struct Stay {
    calls: Arc<Mutex<Calls>>,
    number: u64,
    over: CancellationToken,
}

impl Strangers {
    /// Lets a call in that came from `origin`, and ends the oldest of those that it is one too many for.
    pub(super) fn enter(&self, origin: Origin) -> Stay {
        let origin = Origin { address: address::counted(origin.address), ..origin };
        let over = CancellationToken::new();
        let mut calls = self.0.lock();
        if let Some(number) = OPEN.in_the_way(&calls.open, &origin) {
            calls.end(number);
        }
        calls.begun += 1;
        let number = calls.begun;
        calls.open.insert(number, Call { origin, over: over.clone() });
        Stay { calls: Arc::clone(&self.0), number, over }
    }
}

impl Calls {
    fn end(&mut self, number: u64) {
        let Some(call) = self.open.remove(&number) else { return };
        call.over.cancel();
        if let Some(number) = ENDED.in_the_way(&self.ended, &call.origin) {
            self.hang_up_on(number);
        }
        self.ended.insert(number, call);
    }

    /// Closes the connection of a call that is ended, with which all of its calls go.
    fn hang_up_on(&mut self, number: u64) {
        let Some(Call { origin, .. }) = self.ended.remove(&number) else { return };
        if origin.connection.is_some() {
            self.ended.retain(|_, other| other.origin.connection != origin.connection);
        }
        if let Some(hang_up) = origin.hang_up {
            hang_up.hang_up();
        }
    }
}

impl Bounds {
    /// Of `calls` the one that must go before another from `origin` can be let in.
    fn in_the_way(&self, calls: &BTreeMap<u64, Call>, origin: &Origin) -> Option<u64> {
        let oldest = |max: usize, is_like: &dyn Fn(&Origin) -> bool| {
            let mut alike = calls.iter().filter(|(_, other)| is_like(&other.origin)).map(|(number, _)| *number);
            let first = alike.next()?;
            (1 + alike.count() >= max).then_some(first)
        };
        let of_connection = origin
            .connection
            .and_then(|connection| oldest(self.of_connection, &|other| other.connection == Some(connection)));
        of_connection
            .or_else(|| {
                if origin.address.is_loopback() {
                    return None;
                }
                oldest(self.of_address, &|other| other.address == origin.address)
            })
            .or_else(|| oldest(self.all, &|_| true))
    }
}

impl Stay {
    /// Waits until the place is needed for another call.
    pub(super) fn over(&self) -> WaitForCancellationFutureOwned {
        self.over.clone().cancelled_owned()
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut calls = self.calls.lock();
        if calls.open.remove(&self.number).is_none() {
            calls.ended.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call on the connection from this port, and what closes it.
    fn at(address: [u8; 4], port: u16) -> (Origin, CancellationToken) {
        let closed = CancellationToken::new();
        let hang_up = Some(HangUp::new(closed.clone()));
        (Origin { connection: Some(SocketAddr::from((address, port))), address: address.into(), hang_up }, closed)
    }

    /// Enters `count` calls from one address, on connections of their own.
    fn enter(strangers: &Strangers, address: [u8; 4], count: usize) -> Vec<Stay> {
        let ports = (0..count).map(|port| u16::try_from(port).expect("a port"));
        ports.map(|port| strangers.enter(at(address, port).0)).collect()
    }

    fn ended(stays: &[Stay]) -> Vec<usize> {
        stays.iter().enumerate().filter(|(_, stay)| stay.over.is_cancelled()).map(|(number, _)| number).collect()
    }

    #[test]
    fn the_oldest_of_a_connection_gives_way_first() {
        let strangers = Strangers::default();
        let other = enter(&strangers, [192, 0, 2, 2], 1);
        let (origin, _) = at([192, 0, 2, 1], 1);
        let mut stays: Vec<_> = (0..OPEN.of_connection).map(|_| strangers.enter(origin.clone())).collect();
        assert!(ended(&stays).is_empty());
        stays.push(strangers.enter(origin.clone()));
        assert_eq!((ended(&stays), ended(&other)), (vec![0], vec![]));
        stays.remove(3);
        stays.push(strangers.enter(origin));
        assert_eq!(ended(&stays), [0], "a place that was given back is free");
    }

    #[test]
    fn an_address_leaves_half_of_the_places_to_others() {
        let strangers = Strangers::default();
        let other = enter(&strangers, [192, 0, 2, 2], 1);
        let stays = enter(&strangers, [192, 0, 2, 1], OPEN.all);
        assert_eq!(ended(&stays).len(), OPEN.all - OPEN.of_address);
        assert!(ended(&other).is_empty());
    }

    #[test]
    fn of_all_the_oldest_gives_way() {
        let strangers = Strangers::default();
        let stays = enter(&strangers, [127, 0, 0, 1], OPEN.all + 2);
        assert_eq!(ended(&stays), [0, 1]);
        drop(stays);
        let calls = strangers.0.lock();
        assert!(calls.open.is_empty() && calls.ended.is_empty());
    }

    // what a proxy brings comes from many clients: only they are bounded
    #[test]
    fn the_connection_of_a_proxy_is_not_bounded() {
        let strangers = Strangers::default();
        let of = |client: u8| Origin { connection: None, ..at([192, 0, 2, client], 1).0 };
        let stays: Vec<_> = (0..100).map(|client| strangers.enter(of(client))).collect();
        assert!(ended(&stays).is_empty());
        let more: Vec<_> = (0..OPEN.of_address).map(|_| strangers.enter(of(0))).collect();
        assert_eq!((ended(&stays), ended(&more)), (vec![0], vec![]));
    }

    #[test]
    fn a_connection_is_closed_when_too_many_of_its_calls_do_not_go() {
        let strangers = Strangers::default();
        let ((origin, closed), others) = (at([192, 0, 2, 1], 1), enter(&strangers, [192, 0, 2, 1], 1));
        let may = OPEN.of_connection + ENDED.of_connection;
        let mut stays: Vec<_> = (0..may).map(|_| strangers.enter(origin.clone())).collect();
        // Whatever goes is not counted.
        stays.remove(0);
        stays.push(strangers.enter(origin.clone()));
        assert!(!closed.is_cancelled());
        stays.push(strangers.enter(origin));
        assert!(closed.is_cancelled() && ended(&others).is_empty());
    }

    #[test]
    fn of_all_that_do_not_go_the_connection_of_the_oldest_is_closed() {
        let strangers = Strangers::default();
        let (origin, oldest) = at([127, 0, 0, 2], 1);
        let mut stays = vec![strangers.enter(origin)];
        stays.extend(enter(&strangers, [127, 0, 0, 1], OPEN.all + ENDED.all - 1));
        assert!(!oldest.is_cancelled());
        stays.extend(enter(&strangers, [127, 0, 0, 3], 1));
        assert!(oldest.is_cancelled());
        drop(stays);
        let calls = strangers.0.lock();
        assert!(calls.open.is_empty() && calls.ended.is_empty());
    }
}
