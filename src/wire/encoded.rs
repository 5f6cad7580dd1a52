//! What is delivered as it goes out: each form is made once, when the first subscriber needs it, and shared by all.
//!
//! The forms lie in the cells of [`Forms`](crate::domain::Forms), whose numbers have their names here. What the journal keeps in
//! memory has one cell, which [`Notification::size`] counts; the other forms of a notification live as long as it takes to deliver
//! it.

use bytes::Bytes;

use crate::{
    domain::{Content, Ephemeral, Notification, Publication},
    wire::{frame, json},
};

/// Of a [`Notification`]: its WebSocket frame.
const KEPT_FRAME: usize = 0;

/// Of a [`Publication`]: its compressed WebSocket frame.
const COMPRESSED_FRAME: usize = 0;

/// Of an [`Ephemeral`]: its WebSocket frame, plain and compressed.
const EPHEMERAL_FRAME: usize = 0;
const EPHEMERAL_COMPRESSED_FRAME: usize = 1;

/// The WebSocket frame of a notification.
pub fn notification_frame(notification: &Notification) -> &Bytes {
    notification.forms.get_or_make::<KEPT_FRAME>(|| frame::text(&json::notification(notification)))
}

/// The WebSocket frame of a publication for those who take it compressed; the plain one, if that is not longer.
pub fn compressed_publication_frame(publication: &Publication) -> &Bytes {
    let notification = &*publication.notification;
    publication.forms.get_or_make::<COMPRESSED_FRAME>(|| {
        let compressed = frame::compressed_text(&json::notification(notification));
        compressed.unwrap_or_else(|| notification_frame(notification).clone())
    })
}

/// The WebSocket frame of what is not kept.
pub fn ephemeral_frame(ephemeral: &Ephemeral) -> &Bytes {
    ephemeral.forms.get_or_make::<EPHEMERAL_FRAME>(|| {
        frame::text(&match &ephemeral.content {
            Content::Notice(notice) => json::notice(notice),
            Content::Event(event) => json::ephemeral_event(event),
        })
    })
}

/// The WebSocket frame of what is not kept for those who take it compressed. A notice goes out plain to
/// everybody.
pub fn compressed_ephemeral_frame(ephemeral: &Ephemeral) -> &Bytes {
    let Content::Event(event) = &ephemeral.content else { return ephemeral_frame(ephemeral) };
    ephemeral.forms.get_or_make::<EPHEMERAL_COMPRESSED_FRAME>(|| {
        let compressed = frame::compressed_text(&json::ephemeral_event(event));
        compressed.unwrap_or_else(|| ephemeral_frame(ephemeral).clone())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::domain::{
        Audience, ClientId, Delivery, EphemeralEvent, Epoch, Event, JsonText, Notice, Payload, RoomId,
    };

    /// The first byte of a text frame, plain and compressed.
    const PLAIN: u8 = 0x81;
    const COMPRESSED: u8 = 0xc1;

    fn event(text: &str) -> Event {
        let payload = Payload::parse(format!(r#"{{"x":"{text}"}}"#).into()).expect("an object");
        Event { name: "e".into(), payload, source: "s".into(), timestamp: "t".into() }
    }

    fn publication(text: &str) -> Publication {
        let notification = Notification::new(Epoch::from_text("e"), 1, event(text), Audience::Everyone.into(), None);
        let Delivery::Notification(publication) = Arc::new(notification).into() else { panic!("not a notification") };
        publication
    }

    fn ephemeral(text: &str) -> Ephemeral {
        let event = EphemeralEvent { id: "e".into(), event: event(text), expires_at: None };
        Ephemeral::event(Audience::Everyone.into(), event)
    }

    #[test]
    fn each_form_is_made_once() {
        let long = publication(&"x".repeat(1_000));
        let compressed = compressed_publication_frame(&long);
        assert_eq!(compressed.first(), Some(&COMPRESSED));
        assert!(compressed.len() < notification_frame(&long.notification).len() / 2);
        assert_eq!(compressed_publication_frame(&long).as_ptr(), compressed.as_ptr());

        // What is not compressed is the plain frame itself.
        let too_long = publication(&"x".repeat(200_000));
        assert_eq!(
            compressed_publication_frame(&too_long).as_ptr(),
            notification_frame(&too_long.notification).as_ptr()
        );
    }

    #[test]
    fn each_form_of_what_is_not_kept_is_made_once() {
        let long = ephemeral(&"x".repeat(1_000));
        let (plain, compressed) = (ephemeral_frame(&long), compressed_ephemeral_frame(&long));
        assert_eq!((plain[0], compressed[0]), (PLAIN, COMPRESSED));
        assert_eq!(ephemeral_frame(&long).as_ptr(), plain.as_ptr());
        assert_eq!(compressed_ephemeral_frame(&long).as_ptr(), compressed.as_ptr());
        let too_long = ephemeral(&"x".repeat(200_000));
        assert_eq!(compressed_ephemeral_frame(&too_long).as_ptr(), ephemeral_frame(&too_long).as_ptr());
    }

    // however long it is: as it always was
    #[test]
    fn a_notice_goes_out_plain_to_everybody() {
        let at = DateTime::UNIX_EPOCH;
        let (client_id, room) = (ClientId::parse("ana").expect("a name"), RoomId::parse("sala").expect("a name"));
        let notices = [
            Notice::Chat {
                client_id: client_id.clone(),
                room: room.clone(),
                message: JsonText::of_text(&"hola ".repeat(100)),
                at,
            },
            Notice::Joined { client_id: client_id.clone(), room: room.clone(), at },
            Notice::Left { client_id, room, at },
        ];
        for notice in notices {
            let text = json::notice(&notice);
            let ephemeral = Ephemeral::notice(notice);
            let plain = ephemeral_frame(&ephemeral);
            assert_eq!(*plain, frame::text(&text));
            assert_eq!(compressed_ephemeral_frame(&ephemeral).as_ptr(), plain.as_ptr());
        }
    }
}
