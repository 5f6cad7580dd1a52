//! How many bytes are held of what is unfinished or unread: requests and messages whose end has not come, and answers that
//! nobody takes.
//!
//! One budget bounds them for everybody, whatever the transport. Of it one address has at most half and one user a quarter, so
//! that nobody fills it alone; but whoever holds nothing else may have one thing that is larger. What is smaller than a frame of
//! HTTP/2, or comes whole in its first piece, is never counted, nor is a small answer.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

use crate::{
    domain::UserId,
    gate::{Error, address, connection_limits::Holder},
};

/// Which part of the whole one address may hold.
const ADDRESS_PART: usize = 2;

/// Which part of the whole one user may hold.
const USER_PART: usize = 4;

/// From how many bytes on what is unfinished is counted: what one frame of HTTP/2 brings.
const COUNTED: usize = 16 * 1024;

/// Whose share is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All that the service may hold.
    Everybody,
    /// What one address may hold.
    Address,
    /// What one user may hold.
    User,
}

impl Share {
    /// Who holds too much, to begin a sentence with.
    pub(super) fn holder(self) -> &'static str {
        match self {
            Self::Everybody => "the service holds",
            Self::Address => "this address holds",
            Self::User => "this user holds",
        }
    }
}

/// The bytes of everybody.
#[derive(Debug, Clone)]
pub struct Unfinished(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max_bytes: usize,
    held: Mutex<Held>,
}

/// There are no more entries than charges that are not zero.
#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_holder: HashMap<Holder, usize>,
}

impl Unfinished {
    /// Makes a budget of which nothing is held yet, and at most `max_bytes` will be.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self(Arc::new(Inner { max_bytes, held: Mutex::default() }))
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.0.held.lock().all
    }

    /// How many may be.
    pub fn max_bytes(&self) -> usize {
        self.0.max_bytes
    }

    /// What somebody at `address` holds, which is nothing yet.
    pub(super) fn charge(&self, address: IpAddr, user: Option<&UserId>) -> Charge {
        Charge { unfinished: self.clone(), address: address::counted(address), user: user.cloned(), bytes: 0 }
    }
}

impl Held {
    /// Counts so many bytes more for something of which `counted` are counted already, and whose holder may have `max`, or nothing
    /// else. Answers whether they fit.
    fn add(&mut self, holder: Holder, (counted, bytes): (usize, usize), max: usize) -> bool {
        let held = self.by_holder.get(&holder).copied().unwrap_or(0);
        let fits = bytes <= max.saturating_sub(held) || held == counted;
        if fits {
            self.by_holder.insert(holder, held + bytes);
        }
        fits
    }

    fn give_back(&mut self, holder: &Holder, bytes: usize) {
        if let Some(held) = self.by_holder.get_mut(holder) {
            *held -= bytes;
            if *held == 0 {
                self.by_holder.remove(holder);
            }
        }
    }
}

/// The bytes that one request, message or answer holds of the budget. They are given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    unfinished: Unfinished,
    address: IpAddr,
    user: Option<UserId>,
    bytes: usize,
}

impl Charge {
    /// How many bytes it counts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts `bytes` of what has come in place of what it counted. Few are not counted, so that whatever is small comes through
    /// however it is cut; more are counted in whole KiB. There are no more of the small ones than connections and their calls.
    pub fn set_came(&mut self, bytes: usize) -> Result<(), Error> {
        self.set(if bytes < COUNTED { 0 } else { bytes.next_multiple_of(1024) })
    }

    /// Counts `bytes` in place of what it counted. When more do not fit, it goes on counting what it did.
    pub fn set(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bytes {
            self.take(bytes - self.bytes)?;
        } else if bytes < self.bytes {
            self.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let max = self.unfinished.0.max_bytes;
        let mut held = self.unfinished.0.held.lock();
        if bytes > max.saturating_sub(held.all) {
            return Err(Error::Unfinished(Share::Everybody));
        }
        if !held.add(Holder::Address(self.address), (self.bytes, bytes), max / ADDRESS_PART) {
            return Err(Error::Unfinished(Share::Address));
        }
        let user = self.user.clone().map(Holder::User);
        if !user.is_none_or(|user| held.add(user, (self.bytes, bytes), max / USER_PART)) {
            held.give_back(&Holder::Address(self.address), bytes);
            return Err(Error::Unfinished(Share::User));
        }
        held.all += bytes;
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        let mut held = self.unfinished.0.held.lock();
        held.all -= bytes;
        held.give_back(&Holder::Address(self.address), bytes);
        if let Some(user) = &self.user {
            held.give_back(&Holder::User(user.clone()), bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).expect("a name")
    }

    #[test]
    fn nobody_holds_it_all_and_everybody_together_no_more_than_there_is() {
        let unfinished = Unfinished::new(80);
        let mut first = unfinished.charge(address(1), None);
        assert_eq!(first.set(81), Err(Error::Unfinished(Share::Everybody)));
        assert_eq!((first.bytes(), unfinished.bytes()), (0, 0));
        assert_eq!(first.set(70), Ok(()), "it is all that the address holds");
        assert_eq!(first.set(30), Ok(()));
        let mut second = unfinished.charge(address(1), None);
        assert_eq!(second.set(11), Err(Error::Unfinished(Share::Address)), "an address has one share");
        let mut third = unfinished.charge(address(2), None);
        assert_eq!(third.set(40), Ok(()));
        let mut fourth = unfinished.charge(address(3), None);
        assert_eq!(fourth.set(11), Err(Error::Unfinished(Share::Everybody)));
        assert_eq!(fourth.set(10), Ok(()));
        assert_eq!(unfinished.bytes(), 80);
        drop((first, third, fourth));
        assert_eq!(unfinished.bytes(), 0);
        assert_eq!(second.set(40), Ok(()));
    }

    #[test]
    fn a_user_has_one_share_wherever_it_is() {
        let unfinished = Unfinished::new(80);
        let mut here = unfinished.charge(address(1), Some(&user("ana")));
        assert_eq!(here.set(15), Ok(()));
        let mut there = unfinished.charge(address(2), Some(&user("ana")));
        assert_eq!(there.set(6), Err(Error::Unfinished(Share::User)));
        assert_eq!(unfinished.charge(address(2), None).set(40), Ok(()), "what was refused was counted for nobody");
        assert_eq!(here.set(5), Ok(()));
        assert_eq!(there.set(15), Ok(()));
        drop((here, there));
        assert!(unfinished.0.held.lock().by_holder.is_empty());
    }
}
