//! A subscriber whose transport asks for what comes next: a stream that its client reads at its own pace.
//!
//! A [`Transport`] says what it makes of what is delivered, and nothing else. What a subscriber hears, in which order, what waits for
//! it, what it reads from the journal and how it ends is the same for all of them and is here.

mod member;
mod stream;
#[cfg(test)]
mod tests;

use std::{fmt::Debug, sync::Arc};

use chrono::{DateTime, Utc};

pub use member::StreamSubscriber;
pub use stream::{Beginning, Pulled, StreamEnd, StreamSource, SubscriptionStream};

use crate::{
    delivery::outbox::Frame,
    domain::{Audience, Ephemeral, Interest, Notification, Publication},
};

/// A way out that pulls. There is one value of it for each subscriber.
pub trait Transport: Debug + Send + Sync + 'static {
    /// What waits for a subscriber.
    type Item: Frame + Debug + Send;

    /// Why a stream had to end, as its transport says it.
    type Reason: Debug + Send;

    /// Whether a stream goes on when ephemeral deliveries did not fit, and says how many in the place where they are missing.
    /// Otherwise it ends at once.
    const GOES_ON_WITHOUT: bool;

    /// The name under which the subscriber shows up in an explanation.
    fn name(&self) -> &str;

    /// A notification that was just committed.
    fn live(&self, publication: &Publication) -> Self::Item {
        self.kept(&publication.notification)
    }

    /// A notification that is read from the journal, for this subscriber alone.
    fn kept(&self, notification: &Arc<Notification>) -> Self::Item;

    /// What nobody keeps; `None` if it is not for this subscriber.
    fn ephemeral(&self, ephemeral: &Arc<Ephemeral>) -> Option<Self::Item>;

    /// When the item stops being of use: it is not given afterwards.
    fn expires_at(item: &Self::Item) -> Option<DateTime<Utc>>;

    /// The subscriber left its rooms: because its stream is gone or, when that `has_yet_to_say` why it ended, before it is.
    fn left(&self, has_yet_to_say: bool) {
        let _ = has_yet_to_say;
    }
}

/// What a subscriber wants to hear: some audiences, or everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Option<Vec<Audience>>);

impl Filter {
    /// Everything, whoever it is for.
    pub const EVERYTHING: Self = Self(None);

    /// What is for one of these.
    pub fn any_of(audiences: Vec<Audience>) -> Self {
        Self(Some(audiences))
    }

    /// The audiences; `None` for everything.
    pub fn audiences(&self) -> Option<&[Audience]> {
        self.0.as_deref()
    }

    fn interests(&self) -> impl Iterator<Item = Interest> {
        let everything = self.0.is_none().then_some(Interest::Everything);
        everything.into_iter().chain(self.0.iter().flatten().cloned().map(Interest::In))
    }
}
