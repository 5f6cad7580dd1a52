//! What a sweep over all connections does with each: finding clients that are gone, and tokens that expired.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use crate::{
    egress::ws::{Connection, out::State},
    wire::{frame, status::Close, text},
};

impl Connection {
    /// Looks after a client that may be gone: one that takes nothing is closed, one that is due gets a `ping`, and one
    /// that did not answer the last ping is closed.
    pub(in crate::egress::ws) fn look_after(&self, now: Instant, ping: bool, slow_timeout: Duration) {
        let mut out = self.out.lock();
        if out.stalled_since.is_some_and(|since| now.duration_since(since) >= slow_timeout) {
            self.close_in(&mut out, Close::TooSlow);
        } else if ping && !out.blocked && out.state == State::Open {
            if self.heard.swap(false, Ordering::Relaxed) {
                out.outbox.push(frame::ping().into());
                self.write(&mut out);
            } else {
                self.close_in(&mut out, Close::Unresponsive);
            }
        }
    }

    /// Tells a client whose token expired, once, and closes it when it has not sent another within `grace`.
    pub(in crate::egress::ws) fn look_at_token(&self, (now, time): (Instant, i64), grace: Duration) {
        let mut out = self.out.lock();
        if out.state != State::Open {
            return;
        }
        if !out.permit.is_over(time) {
            // It never was expired: the time of day was put back.
            out.expired_since = None;
            return;
        }
        match out.expired_since {
            Some(since) if now.duration_since(since) >= grace => self.close_in(&mut out, Close::Expired),
            Some(_) => {}
            None if out.outbox.is_listening() => {
                out.expired_since = Some(now);
                out.outbox.push(frame::text(&text::token_expired(grace.as_secs(), self.clock.wall())).into());
                self.write(&mut out);
            }
            None => {}
        }
    }
}
