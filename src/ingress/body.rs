//! Request bodies, within their limit and their time.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::{domain::Code, gate::Charge, wire::problem::Problem};

/// How much of a body that is refused is read and thrown away. A client that is still sending when the connection is
/// closed would see a broken pipe and not the answer; one that sends more than this would not be worth it.
const DISCARDED: usize = 32 * 1024 * 1024;

/// Reads a body of at most `max_bytes` within `patience`. What has come is counted by `charge` while the rest is waited for.
pub(super) async fn read(body: Body, max_bytes: usize, charge: Charge, patience: Duration) -> Result<Bytes, Problem> {
    let mut refusal = None;
    let outcome = timeout(patience, collect(body, max_bytes, charge, &mut refusal)).await;
    match (refusal, outcome) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(read)) => read,
        (None, Err(_)) => Err(Problem::http(StatusCode::REQUEST_TIMEOUT).with_detail("the body took too long")),
    }
}

/// Reads a body to its end. Once there is a `refusal`, the rest is thrown away as it comes.
async fn collect(
    mut body: Body,
    max_bytes: usize,
    mut charge: Charge,
    refusal: &mut Option<Problem>,
) -> Result<Bytes, Problem> {
    let mut read = BytesMut::new();
    let mut discarded = 0;
    while discarded <= DISCARDED {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                if let Err(denied) = charge.set_came(read.len()) {
                    (read, *refusal) = (BytesMut::new(), Some(denied.into()));
                }
                body.frame().await
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Problem::new(Code::Malformed, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if refusal.is_some() {
            discarded += data.len();
        } else if read.len() + data.len() > max_bytes {
            let message = format!("the body must have at most {max_bytes} bytes");
            (read, *refusal) = (BytesMut::new(), Some(Problem::new(Code::TooLarge, message)));
        } else if read.is_empty() && body.size_hint().exact() == Some(0) {
            // Most bodies come in one piece, which need not be copied.
            return Ok(data);
        } else {
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}
