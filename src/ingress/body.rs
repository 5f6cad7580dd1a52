//! Reads request bodies, within their limit and their time.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::{domain::Code, gate::Charge, wire::problem::Problem};

/// Reads a body of at most `max_bytes` within `patience`. What has come is counted by `charge` while the rest is waited for.
/// What is left of a body that is refused is the listener's.
pub(super) async fn read(body: Body, max_bytes: usize, charge: Charge, patience: Duration) -> Result<Bytes, Problem> {
    let read = timeout(patience, collect(body, max_bytes, charge)).await;
    read.unwrap_or_else(|_| Err(Problem::new(Code::Timeout, "the body took too long")))
}

/// Reads a body to its end.
async fn collect(mut body: Body, max_bytes: usize, mut charge: Charge) -> Result<Bytes, Problem> {
    let mut read = BytesMut::new();
    loop {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                charge.set_came(read.len())?;
                body.frame().await
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Problem::new(Code::Malformed, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > max_bytes {
            return Err(Problem::new(Code::TooLarge, format!("the body must have at most {max_bytes} bytes")));
        }
        if read.is_empty() && body.size_hint().exact() == Some(0) {
            // Most bodies come in one piece, which need not be copied.
            return Ok(data);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}
