//! The acts that are timed and counted, by themselves: each from what it is given to what it gives.

use std::{num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use exposia_notifications::{
    broker::Rules,
    domain::{Audience, Audiences, Break, Delivery, Draft, Durability, Epoch, Interest, Notification, RoomId},
    journal::Entry,
    rooms::{self, Member},
    wire::notify,
};

use crate::Result;

/// A body of `POST /notify`, of the size that the load has.
pub(crate) fn body() -> Bytes {
    let pad = "x".repeat(200);
    format!(r#"{{"event":"tema.creado","payload":{{"temaId":7,"pad":"{pad}"}},"source":"bench"}}"#).into()
}

/// What becomes of it where `rules` may route it.
pub(crate) fn draft(rules: &Rules) -> Result<Draft> {
    notify::read(&body(), None, rules.fields()).map_err(|problem| format!("{problem:?}").into())
}

/// From the body to what the journal takes.
pub(crate) fn entry(rules: &Rules) -> Result<Entry> {
    let draft = draft(rules)?;
    let audiences = rules.audiences(&draft)?;
    let event = draft.into_event("2026-01-01T00:00:00.000Z");
    Ok(Entry { event, audiences, key: None, expires_at: None, durability: Durability::Fsync })
}

/// A notification that was not encoded yet.
pub(crate) fn notification(audience: Audience) -> Result<Notification> {
    let event = entry(&Rules::default())?.event;
    Ok(Notification::new(Epoch::from_random(1), 1, event, audience.into(), None))
}

/// A member that takes everything: what is looked at is the way to it.
#[derive(Debug)]
struct Listener;

impl Member for Listener {
    fn enqueue(&self, _: &Delivery) -> bool {
        true
    }

    fn interrupt(&self, _: &Break) -> bool {
        false
    }

    fn flush(&self) {}

    fn name(&self) -> &str {
        "listener"
    }
}

/// Members of rooms, and one notification for each room.
#[derive(Debug)]
pub(crate) struct House {
    writer: rooms::Writer,
    _subscriptions: Vec<rooms::Subscription>,
    batch: Vec<Delivery>,
    to_flush: Vec<Arc<dyn Member>>,
}

impl House {
    /// So many members, evenly in so many rooms.
    pub(crate) fn new(members: usize, rooms: usize) -> Result<Self> {
        let (writer, reader) = rooms::split(NonZeroUsize::MIN);
        let room = |number: usize| Ok::<_, crate::Error>(Audience::Room(RoomId::parse(&format!("tema_{number}"))?));
        let subscribe = |number: usize| {
            let mut subscription = reader.subscribe(Arc::new(Listener));
            subscription.join(Interest::In(room(number % rooms)?));
            Ok(subscription)
        };
        let deliver = |number| Ok(Arc::new(notification(room(number)?)?).into());
        Ok(Self {
            writer,
            _subscriptions: (0..members).map(subscribe).collect::<Result<_>>()?,
            batch: (0..rooms).map(deliver).collect::<Result<_>>()?,
            to_flush: Vec::new(),
        })
    }

    /// From the commit stream to every member, without a socket.
    pub(crate) fn fan_out(&mut self) {
        self.writer.shards()[0].enqueue(&self.batch, &mut self.to_flush);
        self.to_flush.drain(..).for_each(|member| member.flush());
    }

    /// How many members a notification for the first two rooms is for.
    pub(crate) fn receivers(&self) -> Result<usize> {
        let rooms = ["tema_0".to_owned(), "tema_1".to_owned()];
        Ok(self.writer.receivers(&Audiences::from_target(false, &[], &rooms)?))
    }
}
