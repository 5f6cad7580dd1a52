//! What the journal's commit stream carries to the rooms.

use std::{ops::RangeInclusive, sync::Arc};

use chrono::{DateTime, Utc};

use crate::domain::{Audience, Audiences, ClientId, Event, Forms, Notice, Notification, Seq};

/// Something to deliver to connections.
#[derive(Debug)]
pub enum Delivery {
    /// A notification: in the journal, in order, to be delivered once.
    Notification(Publication),
    /// Something that nobody keeps.
    Ephemeral(Arc<Ephemeral>),
    /// What was to be delivered does not come this way. It is for everybody who listens.
    Break(Break),
}

/// A position in what is delivered at which something does not come, or will not come in this way. It comes in the order of the
/// notifications: all that was to be delivered before it was, and nothing that lies behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// What lies up to here was not delivered, and must be read from the journal.
    Behind(Seq),
    /// What has these positions is lost. Whoever began to listen before the last of them is to know it, also when it was delivered
    /// or passed by before; from now on the journal's pages say so, too.
    Lost(RangeInclusive<Seq>),
    /// The journal is another one: what comes has positions of another epoch.
    Anew,
}

impl From<Arc<Notification>> for Delivery {
    fn from(notification: Arc<Notification>) -> Self {
        Self::Notification(Publication { notification, forms: Forms::default() })
    }
}

impl Delivery {
    /// About how many bytes it has as it goes out.
    pub fn size(&self) -> usize {
        match self {
            Self::Notification(publication) => publication.notification.event.size(),
            Self::Ephemeral(ephemeral) => ephemeral.size(),
            Self::Break(_) => 0,
        }
    }
}

/// A notification that was just committed, on its way to whoever listens.
#[derive(Debug)]
pub struct Publication {
    /// What is delivered.
    pub notification: Arc<Notification>,
    /// Here, so that they go when everybody has it: the journal keeps what it counts.
    pub(crate) forms: Forms<1>,
}

/// What lives only as long as it takes to deliver it. It has no `seq`, and no position in the order of the notifications.
#[derive(Debug)]
pub struct Ephemeral {
    /// Who receives it.
    pub audiences: Audiences,
    /// The client that does not: the one it comes from.
    pub except: Option<ClientId>,
    /// What it is.
    pub content: Content,
    pub(crate) forms: Forms<2>,
}

/// What an ephemeral delivery is.
#[derive(Debug)]
pub enum Content {
    /// What a client said or did in a room.
    Notice(Notice),
    /// An event that its publisher wants delivered and not kept.
    Event(EphemeralEvent),
}

impl Ephemeral {
    /// A notice for the others in its room.
    pub fn notice(notice: Notice) -> Self {
        let except = Some(notice.client_id().clone());
        let audiences = Audience::Room(notice.room().clone()).into();
        Self { audiences, except, content: Content::Notice(notice), forms: Forms::default() }
    }

    /// An event for `audiences`.
    pub fn event(audiences: Audiences, event: EphemeralEvent) -> Self {
        Self { audiences, except: None, content: Content::Event(event), forms: Forms::default() }
    }

    /// When it stops being of use.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        match &self.content {
            Content::Notice(_) => None,
            Content::Event(ephemeral) => ephemeral.expires_at,
        }
    }

    /// About how many bytes it has as it goes out.
    pub fn size(&self) -> usize {
        match &self.content {
            Content::Notice(notice) => notice.size(),
            Content::Event(ephemeral) => ephemeral.event.size(),
        }
    }
}

/// An event that is delivered to whoever is connected, and not kept.
#[derive(Debug)]
pub struct EphemeralEvent {
    /// Its id.
    pub id: Box<str>,
    /// What happened.
    pub event: Event,
    /// When it stops being of use.
    pub expires_at: Option<DateTime<Utc>>,
}
