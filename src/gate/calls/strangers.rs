//! The calls of those who have no credential: health answers anybody, and so does reflection where reading is open. So they are
//! few at a time, and the oldest gives way to the newest. A call that is answered at once gets through, however many others were
//! begun to take up room.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::gate::address;

/// How many such calls are open in all.
const PLACES: usize = 256;

/// How many of them one address has at the most. Behind the loopback address may be anybody.
const OF_ADDRESS: usize = PLACES / 2;

/// How many of them one connection has.
const OF_CONNECTION: usize = 8;

/// The calls that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct Strangers(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    begun: u64,
    /// By their age, the oldest first.
    calls: BTreeMap<u64, Call>,
}

#[derive(Debug)]
struct Call {
    connection: SocketAddr,
    address: IpAddr,
    ended: CancellationToken,
}

/// The place of one call, until it is dropped.
#[derive(Debug)]
pub(super) struct Stay {
    open: Arc<Mutex<Open>>,
    number: u64,
    ended: CancellationToken,
}

impl Strangers {
    /// Lets a call in that came from `address` on `connection`, and ends the oldest of those that it is one too many for.
    pub(super) fn enter(&self, connection: SocketAddr, address: IpAddr) -> Stay {
        let call = Call { connection, address: address::counted(address), ended: CancellationToken::new() };
        let ended = call.ended.clone();
        let mut open = self.0.lock();
        if let Some(number) = open.in_the_way(&call)
            && let Some(oldest) = open.calls.remove(&number)
        {
            oldest.ended.cancel();
        }
        open.begun += 1;
        let number = open.begun;
        open.calls.insert(number, call);
        Stay { open: Arc::clone(&self.0), number, ended }
    }
}

impl Open {
    /// The call that must end before `call` can be let in.
    fn in_the_way(&self, call: &Call) -> Option<u64> {
        let oldest = |max: usize, is_like: &dyn Fn(&Call) -> bool| {
            let mut alike = self.calls.iter().filter(|(_, other)| is_like(other)).map(|(number, _)| *number);
            let first = alike.next()?;
            (1 + alike.count() >= max).then_some(first)
        };
        oldest(OF_CONNECTION, &|other| other.connection == call.connection)
            .or_else(|| {
                if call.address.is_loopback() {
                    return None;
                }
                oldest(OF_ADDRESS, &|other| other.address == call.address)
            })
            .or_else(|| oldest(PLACES, &|_| true))
    }
}

impl Stay {
    /// Waits until the place is needed for another call.
    pub(super) fn ended(&self) -> WaitForCancellationFutureOwned {
        self.ended.clone().cancelled_owned()
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.open.lock().calls.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: [u8; 4], port: u16) -> SocketAddr {
        SocketAddr::from((address, port))
    }

    /// Enters `count` calls from one address, on connections of their own.
    fn enter(strangers: &Strangers, address: [u8; 4], count: usize) -> Vec<Stay> {
        let ports = (0..count).map(|port| u16::try_from(port).expect("a port"));
        ports.map(|port| strangers.enter(at(address, port), address.into())).collect()
    }

    fn ended(stays: &[Stay]) -> Vec<usize> {
        stays.iter().enumerate().filter(|(_, stay)| stay.ended.is_cancelled()).map(|(number, _)| number).collect()
    }

    #[test]
    fn the_oldest_of_a_connection_gives_way_first() {
        let strangers = Strangers::default();
        let other = enter(&strangers, [192, 0, 2, 2], 1);
        let connection = at([192, 0, 2, 1], 1);
        let mut stays: Vec<_> = (0..OF_CONNECTION).map(|_| strangers.enter(connection, connection.ip())).collect();
        assert!(ended(&stays).is_empty());
        stays.push(strangers.enter(connection, connection.ip()));
        assert_eq!((ended(&stays), ended(&other)), (vec![0], vec![]));
        stays.remove(3);
        stays.push(strangers.enter(connection, connection.ip()));
        assert_eq!(ended(&stays), [0], "a place that was given back is free");
    }

    #[test]
    fn an_address_leaves_half_of_the_places_to_others() {
        let strangers = Strangers::default();
        let other = enter(&strangers, [192, 0, 2, 2], 1);
        let stays = enter(&strangers, [192, 0, 2, 1], PLACES);
        assert_eq!(ended(&stays).len(), PLACES - OF_ADDRESS);
        assert!(ended(&other).is_empty());
    }

    #[test]
    fn of_all_the_oldest_gives_way() {
        let strangers = Strangers::default();
        let stays = enter(&strangers, [127, 0, 0, 1], PLACES + 2);
        assert_eq!(ended(&stays), [0, 1]);
        drop(stays);
        assert!(strangers.0.lock().calls.is_empty());
    }
}
