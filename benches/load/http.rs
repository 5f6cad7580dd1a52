//! HTTP/1.1, as much as it takes to ask and to see that it was answered.

use std::fmt::Write;

use crate::Result;

/// The request that opens a WebSocket, with an offer to compress if that is wanted. All of them have the same key: nobody looks
/// at the answer to it.
pub(crate) fn upgrade(path: &str, deflate: bool) -> String {
    let offer = if deflate { "sec-websocket-extensions: permessage-deflate\r\n" } else { "" };
    format!(
        "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{offer}\r\n"
    )
}

/// The head of a request with a JSON body of `length` bytes.
pub(crate) fn post(path: &str, length: usize, out: &mut String) {
    write!(
        out,
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer dev\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
    .expect("a string takes everything");
}

/// An answer whose head is complete.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How long it is, body and all.
    pub(crate) length: usize,
}

/// The answer that `bytes` begins with, when its head is complete.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body: usize = match length {
        Some(header) => std::str::from_utf8(header.value)?.trim().parse()?,
        None => 0,
    };
    Ok(Some(Answer { status: response.code.unwrap_or_default(), length: head + body }))
}
