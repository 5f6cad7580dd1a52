//! Frames as they go to WebSocket subscribers: prepared once, header and all, and shared.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    domain::{Committed, Notification, Passing},
    wire::{deflate::deflate, text},
};

const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

/// A text frame around `json`.
pub fn text(json: &[u8]) -> Bytes {
    frame(FIN | TEXT, json)
}

/// The same, compressed, if that makes it shorter.
fn deflated_text(json: &[u8]) -> Option<Bytes> {
    deflate(json).map(|deflated| frame(FIN | COMPRESSED | TEXT, &deflated))
}

/// The frame of a notification, encoded when the first subscriber needs it and shared by all.
pub fn notification(notification: &Notification) -> &Bytes {
    notification.encoded(|notification| text(&text::notification(notification)))
}

/// The frame of an event that is not kept; the same.
pub fn passing(passing: &Passing) -> &Bytes {
    passing.encoded(|passing| text(&text::passing(passing)))
}

/// The frame of a notification for those who take it compressed; the same.
pub fn deflated(committed: &Committed) -> &Bytes {
    committed.deflated(|kept| deflated_text(&text::notification(kept)).unwrap_or_else(|| notification(kept).clone()))
}

/// The frame of an event that is not kept for those who take it compressed; the same.
pub fn deflated_passing(passing: &Passing) -> &Bytes {
    passing.deflated(|event| deflated_text(&text::passing(event)).unwrap_or_else(|| self::passing(event).clone()))
}

/// A ping without content.
pub fn ping() -> Bytes {
    Bytes::from_static(&[FIN | PING, 0])
}

/// A close frame. Reasons are ours and short: a control frame holds 123 bytes of them.
pub fn close(code: u16, reason: &str) -> Bytes {
    debug_assert!(reason.len() <= 123);
    let mut frame = BytesMut::with_capacity(4 + reason.len());
    frame.put_u8(FIN | CLOSE);
    frame.put_u8(2 + reason.len() as u8);
    frame.put_u16(code);
    frame.put_slice(reason.as_bytes());
    frame.freeze()
}

/// RFC 6455, 5.2: the length takes 7 bits, or 16, or 64. A server does not mask.
fn frame(first: u8, content: &[u8]) -> Bytes {
    let length = content.len();
    let mut frame = BytesMut::with_capacity(length + 10);
    frame.put_u8(first);
    match length {
        0..=125 => frame.put_u8(length as u8),
        126..=65_535 => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.put_slice(content);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tungstenite::{Message, WebSocket, protocol::Role};

    use super::*;
    use crate::domain::{Audience, Delivery, Epoch, Event, Payload};

    /// Reads frames as a client does.
    fn read(bytes: &[u8]) -> Message {
        WebSocket::from_raw_socket(std::io::Cursor::new(bytes.to_vec()), Role::Client, None).read().expect("a frame")
    }

    #[test]
    fn a_client_reads_what_was_prepared_at_every_length_of_the_header() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
            let content = "x".repeat(length);
            assert_eq!(read(&text(content.as_bytes())), Message::text(content));
        }
        assert_eq!(read(&ping()), Message::Ping(Bytes::new()));
        let Message::Close(Some(frame)) = read(&close(4001, "why")) else { panic!("not a close frame") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "why"));
    }

    fn committed(text: &str) -> Committed {
        let payload = Payload::parse(format!(r#"{{"x":"{text}"}}"#).into()).expect("an object");
        let event = Event { name: "e".into(), payload, source: "s".into(), timestamp: "t".into() };
        let notification = Notification::new(Epoch::from_text("e"), 1, event, Audience::Everyone.into(), None);
        let Delivery::Notification(committed) = Arc::new(notification).into() else { panic!("not a notification") };
        committed
    }

    #[test]
    fn each_form_is_made_once() {
        let long = committed(&"x".repeat(1_000));
        let deflated = super::deflated(&long);
        assert_eq!(deflated.first(), Some(&(FIN | COMPRESSED | TEXT)));
        assert!(deflated.len() < notification(&long.notification).len() / 2);
        assert_eq!(super::deflated(&long).as_ptr(), deflated.as_ptr());

        // What is not compressed is the plain frame itself.
        let too_long = committed(&"x".repeat(200_000));
        assert_eq!(super::deflated(&too_long).as_ptr(), notification(&too_long.notification).as_ptr());
    }
}
