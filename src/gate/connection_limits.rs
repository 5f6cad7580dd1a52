//! How many subscriptions an address and a user have open.

use std::{collections::HashMap, net::IpAddr, num::NonZeroUsize, sync::Arc};

use parking_lot::Mutex;

use crate::{
    domain::UserId,
    gate::{Error, address},
};

/// The open subscriptions. There are no more entries than subscriptions.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    per_address: Option<NonZeroUsize>,
    per_user: NonZeroUsize,
    taken: Mutex<HashMap<Holder, usize>>,
}

/// Whom something is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Address(IpAddr),
    User(UserId),
}

/// The permit for one subscription, until it is dropped. Where nothing is limited it holds nothing.
#[derive(Debug)]
pub struct ConnectionPermit {
    _address: Option<Box<Held>>,
    _user: Option<Box<Held>>,
}

#[derive(Debug)]
struct Held {
    limits: ConnectionLimits,
    holder: Holder,
}

impl ConnectionLimits {
    pub(super) fn new(per_address: Option<NonZeroUsize>, per_user: NonZeroUsize) -> Self {
        Self(Arc::new(Inner { per_address, per_user, taken: Mutex::default() }))
    }

    /// Takes the permit for one more subscription of `user` from `address`.
    pub(super) fn take(&self, address: IpAddr, user: Option<&UserId>) -> Result<ConnectionPermit, Error> {
        let (per_address, per_user) = (self.0.per_address, self.0.per_user);
        let address = per_address.map(|max| self.hold(Holder::Address(address::counted(address)), max));
        let address = address.transpose().map_err(Error::AddressConnections)?;
        let user = user.map(|user| self.hold(Holder::User(user.clone()), per_user));
        let user = user.transpose().map_err(Error::UserConnections)?;
        Ok(ConnectionPermit { _address: address, _user: user })
    }

    fn hold(&self, holder: Holder, max: NonZeroUsize) -> Result<Box<Held>, NonZeroUsize> {
        let mut taken = self.0.taken.lock();
        let count = taken.entry(holder.clone()).or_default();
        if *count >= max.get() {
            return Err(max);
        }
        *count += 1;
        Ok(Box::new(Held { limits: self.clone(), holder }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.limits.0.taken.lock();
        if let Some(count) = taken.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}
