//! Frames as they go to WebSocket subscribers, header and all. Those that many subscribers get are made once, by
//! [`encoded`](crate::wire::encoded).

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::{deflate::deflate, framed::Framed};

const FIN: u8 = 0x80;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

/// A text frame around `json`.
pub fn text(json: &Framed) -> Bytes {
    json.frame().clone()
}

/// Makes a compressed text frame, if compression makes it shorter.
pub(super) fn compressed_text(json: &[u8]) -> Option<Bytes> {
    deflate(json).map(Framed::into_frame)
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

#[cfg(test)]
mod tests {
    use tungstenite::{Message, WebSocket, protocol::Role};

    use super::*;

    /// Reads frames as a client does.
    fn read(bytes: &[u8]) -> Message {
        WebSocket::from_raw_socket(std::io::Cursor::new(bytes.to_vec()), Role::Client, None).read().expect("a frame")
    }

    #[test]
    fn a_client_reads_what_was_prepared_at_every_length_of_the_header() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
            let content = "x".repeat(length);
            let mut buffer = Framed::buffer(0);
            buffer.extend_from_slice(content.as_bytes());
            let framed = Framed::text(buffer);
            assert_eq!(*framed, *content.as_bytes());
            assert_eq!(text(&framed), *framed.frame());
            assert_eq!(read(&text(&framed)), Message::text(content));
        }
        assert_eq!(read(&ping()), Message::Ping(Bytes::new()));
        let Message::Close(Some(frame)) = read(&close(4001, "why")) else { panic!("not a close frame") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "why"));
    }
}
