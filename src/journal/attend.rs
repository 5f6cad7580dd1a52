//! What a node wants to get of a journal that several nodes share: what its subscribers listen to, and not the rest.
//!
//! An embedded engine has one node, which gets everything; there an [`Attendance`] costs nothing.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{
    domain::{Epoch, Interest, Seq},
    journal::{Bounds, Error, Incarnation},
};

/// Attending to what is appended. Sessions hold this, with [`Read`](crate::journal::Read) and
/// [`Relay`](crate::journal::Relay).
#[async_trait]
pub trait Attend: Incarnation {
    /// What is appended for `interests` after the answered bounds reaches this node's commit streams for as long as the answer is held;
    /// what lies before can be read. Waits until the journal is known up to the position `since` of the present epoch, if
    /// another node was ahead.
    async fn attend(&self, interests: &[Interest], since: Option<Seq>) -> Result<Attendance, Error>;
}

/// What one subscriber attends to, until this is dropped, and where that began.
#[derive(Debug)]
pub struct Attendance {
    epoch: Epoch,
    bounds: Bounds,
    attending: Attending,
}

/// What one subscriber attends to, until this is dropped: what is left of an [`Attendance`] for as long as a session waits.
#[derive(Debug, Default)]
pub struct Attending(Option<Box<dyn Attended>>);

/// How an engine that several nodes share holds what a subscriber attends to, until it is dropped.
#[async_trait]
pub trait Attended: Debug + Send + Sync {
    /// From when this returns on, what is appended for `interest` reaches this node's commit streams.
    async fn add(&mut self, interest: Interest) -> Result<(), Error>;

    /// What is appended for `interest` need not reach this node's commit streams for this subscriber.
    fn remove(&mut self, interest: &Interest);
}

impl Attendance {
    /// Makes the attendance of a node that gets everything anyway.
    pub fn to_everything(epoch: Epoch, bounds: Bounds) -> Self {
        Self { epoch, bounds, attending: Attending::default() }
    }

    /// Makes the attendance of a node that gets only what it attends to.
    pub fn new(epoch: Epoch, bounds: Bounds, attended: Box<dyn Attended>) -> Self {
        Self { epoch, bounds, attending: Attending(Some(attended)) }
    }

    /// The epoch that the bounds belong to.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// What the journal held when it began: what comes after it reaches the commit streams.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Goes on attending, whatever the beginning was.
    pub fn go_on(self) -> Attending {
        self.attending
    }

    /// Attends to `interest` from when this returns on, too.
    pub async fn add(&mut self, interest: Interest) -> Result<(), Error> {
        self.attending.add(interest).await
    }

    /// Attends to `interest` no longer.
    pub fn remove(&mut self, interest: &Interest) {
        self.attending.remove(interest);
    }
}

impl Attending {
    /// Attends to `interest` from when this returns on, too.
    pub async fn add(&mut self, interest: Interest) -> Result<(), Error> {
        match &mut self.0 {
            Some(attended) => attended.add(interest).await,
            None => Ok(()),
        }
    }

    /// Attends to `interest` no longer.
    pub fn remove(&mut self, interest: &Interest) {
        if let Some(attended) = &mut self.0 {
            attended.remove(interest);
        }
    }
}
