//! Who has which place.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Full, Rules, Seat};

/// The places that are taken. There are no more entries than connections.
#[derive(Debug, Default)]
pub(super) struct TakenPlaces {
    /// The number of the next connection, or of the next to become idle: what has a lower one is older.
    next: u64,
    held: HashMap<u64, Held>,
    quiet: Line,
    idle: Line,
    of_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Held {
    seat: Arc<Seat>,
    /// Whether it ever said something that counts.
    known: bool,
    waits: Option<Waits>,
    /// Since when it has no turn.
    since: Instant,
}

/// In which line a connection stands, and where.
#[derive(Debug, Clone, Copy)]
enum Waits {
    Quiet(u64),
    Idle(u64),
}

/// Connections in the order in which they would be closed, by number.
#[derive(Debug, Default)]
struct Line {
    all: BTreeMap<u64, u64>,
    of_address: HashMap<IpAddr, BTreeMap<u64, u64>>,
}

impl Line {
    fn push(&mut self, number: u64, seat: &Seat) {
        self.all.insert(number, seat.id);
        if let Some(address) = seat.address {
            self.of_address.entry(address).or_default().insert(number, seat.id);
        }
    }

    fn remove(&mut self, number: u64, seat: &Seat) {
        self.all.remove(&number);
        let Some(address) = seat.address else { return };
        if let Some(own) = self.of_address.get_mut(&address) {
            own.remove(&number);
            if own.is_empty() {
                self.of_address.remove(&address);
            }
        }
    }

    /// The oldest of all, or of an address.
    fn oldest(&self, address: Option<IpAddr>) -> Option<u64> {
        let line = match address {
            Some(address) => self.of_address.get(&address)?,
            None => &self.all,
        };
        line.first_key_value().map(|(_, id)| *id)
    }

    fn count(&self, address: IpAddr) -> usize {
        self.of_address.get(&address).map_or(0, BTreeMap::len)
    }
}

impl TakenPlaces {
    /// Makes room for a newcomer, which may have to take over another's place, and says what was full; in vain when nobody can
    /// be closed for it.
    pub(super) fn make_room(
        &mut self,
        rules: &Rules,
        address: Option<IpAddr>,
        takes_over: bool,
    ) -> Result<Option<Full>, Full> {
        let mut full = None;
        if let Some(own) = address {
            let all_of_address = self.of_address.get(&own).copied().unwrap_or(0);
            if self.quiet.count(own) >= rules.quiet_of_address {
                full = self.close_quiet(address).then_some(Full::QuietOfAddress);
            } else if all_of_address >= rules.of_address {
                let closed = self.close_idle(address) || self.close_quiet(address);
                full = Some(closed.then_some(Full::Address).ok_or(Full::BusyOfAddress)?);
            }
        }
        if self.quiet.all.len() >= rules.quiet {
            self.close_quiet(None);
            full = Some(Full::Quiet);
        } else if self.held.len() >= rules.all {
            let closed = self.close_idle(None) || self.close_quiet(None);
            full = Some(closed.then_some(Full::All).ok_or(Full::Busy)?);
        } else if takes_over && full.is_none() && !self.close_idle(None) && !self.close_quiet(None) {
            // Otherwise there was a place, and whoever took it over need not be told of.
            return Err(Full::Descriptors);
        }
        Ok(full)
    }

    fn close_quiet(&mut self, address: Option<IpAddr>) -> bool {
        self.quiet.oldest(address).is_some_and(|id| self.close(id))
    }

    fn close_idle(&mut self, address: Option<IpAddr>) -> bool {
        self.idle.oldest(address).is_some_and(|id| self.close(id))
    }

    /// Takes a connection's place away and tells it so.
    fn close(&mut self, id: u64) -> bool {
        let left = self.leave(id);
        left.inspect(|seat| seat.closed.cancel()).is_some()
    }

    /// A quiet place for a connection from `address`, if that is counted.
    pub(super) fn enter(&mut self, address: Option<IpAddr>) -> Arc<Seat> {
        let id = self.number();
        let (begun, in_hand, closed) = (AtomicUsize::new(0), AtomicUsize::new(0), CancellationToken::new());
        let seat = Arc::new(Seat { id, address, begun, in_hand, closed });
        self.quiet.push(id, &seat);
        if let Some(address) = address {
            *self.of_address.entry(address).or_default() += 1;
        }
        let waits = Some(Waits::Quiet(id));
        self.held.insert(id, Held { seat: Arc::clone(&seat), known: false, waits, since: Instant::now() });
        seat
    }

    /// Gives a place back, if it was not taken away.
    pub(super) fn leave(&mut self, id: u64) -> Option<Arc<Seat>> {
        let held = self.held.remove(&id)?;
        self.step_out(held.waits, &held.seat);
        if let Some(address) = held.seat.address
            && let Some(count) = self.of_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&address);
            }
        }
        Some(held.seat)
    }

    /// Begins a turn, in which nobody closes the connection for another; false when it was closed before. `known` says that
    /// the connection is known from now on.
    pub(super) fn begin(&mut self, id: u64, known: bool) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        held.known |= known;
        held.seat.begun.fetch_add(1, Ordering::Relaxed);
        if held.seat.in_hand.fetch_add(1, Ordering::Relaxed) > 0 {
            // Whoever gives way although it is busy does so still.
            return true;
        }
        let (waits, seat) = (held.waits.take(), Arc::clone(&held.seat));
        self.step_out(waits, &seat);
        true
    }

    /// Lets a connection that is busy give way as if it were idle from now on. Answers whether somebody could take its place.
    pub(super) fn give_way(&mut self, id: u64) -> bool {
        let number = self.number();
        let Some(held) = self.held.get_mut(&id) else { return false };
        if held.waits.is_some() {
            return false;
        }
        held.waits = Some(Waits::Idle(number));
        self.idle.push(number, &held.seat);
        true
    }

    /// Takes that back.
    pub(super) fn stay(&mut self, id: u64) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let (waits, seat) = (held.waits.take(), Arc::clone(&held.seat));
        self.step_out(waits, &seat);
    }

    /// Says that a connection is known from now on.
    pub(super) fn know(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id) {
            held.known = true;
        }
    }

    pub(super) fn is_known(&self, id: u64) -> bool {
        self.held.get(&id).is_some_and(|held| held.known)
    }

    /// Lets a connection rest whose turns have all ended: one that is known is idle from now on, any other is as quiet as it
    /// was before, and as old. Answers whether somebody could take its place.
    pub(super) fn rest(&mut self, id: u64) -> bool {
        let number = self.number();
        let Some(held) = self.held.get_mut(&id) else { return false };
        if held.waits.is_some() || held.seat.in_hand.load(Ordering::Relaxed) > 0 {
            return false;
        }
        held.since = Instant::now();
        let (waits, line, number) = if held.known {
            (Waits::Idle(number), &mut self.idle, number)
        } else {
            (Waits::Quiet(id), &mut self.quiet, id)
        };
        held.waits = Some(waits);
        line.push(number, &held.seat);
        true
    }

    /// Since when a connection has no turn.
    pub(super) fn resting_since(&self, id: u64) -> Option<Instant> {
        let held = self.held.get(&id)?;
        (held.seat.in_hand.load(Ordering::Relaxed) == 0).then_some(held.since)
    }

    fn step_out(&mut self, waits: Option<Waits>, seat: &Seat) {
        match waits {
            Some(Waits::Quiet(number)) => self.quiet.remove(number, seat),
            Some(Waits::Idle(number)) => self.idle.remove(number, seat),
            None => {}
        }
    }

    /// Whether nobody has a place, and nothing is left of anybody who had one.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let lines = [&self.quiet, &self.idle];
        let nobody_waits = lines.iter().all(|line| line.all.is_empty() && line.of_address.is_empty());
        self.held.is_empty() && self.of_address.is_empty() && nobody_waits
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
