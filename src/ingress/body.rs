//! Request bodies, within their limit.

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::{domain::Code, wire::problem::Problem};

/// How much of a body that is too large is read and thrown away. A client that is still sending when the connection is
/// closed would see a broken pipe and not the answer; one that sends more than this would not be worth it.
const DISCARDED: usize = 32 * 1024 * 1024;

/// Reads a body of at most `max_bytes`.
pub(super) async fn read(mut body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let mut read = BytesMut::new();
    let mut discarded = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Code::Malformed, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if discarded > 0 || read.len() + data.len() > max_bytes {
            discarded += data.len();
            if discarded > DISCARDED {
                break;
            }
        } else if read.is_empty() && body.size_hint().exact() == Some(0) {
            // Most bodies come in one piece, which need not be copied.
            return Ok(data);
        } else {
            read.extend_from_slice(&data);
        }
    }
    if discarded > 0 {
        return Err(Problem::new(Code::TooLarge, format!("the body must have at most {max_bytes} bytes")));
    }
    Ok(read.freeze())
}
