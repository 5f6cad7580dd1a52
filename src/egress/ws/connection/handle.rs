//! A connection as everybody sees it who knows no transport: what its session is, and what it can be told.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use crate::{
    egress::{
        session::{Session, SessionHandle},
        ws::{Connection, out::State},
    },
    wire::{frame, status::Close, text},
};

impl SessionHandle for Connection {
    fn session(&self) -> &Session {
        &self.session
    }

    fn is_open(&self) -> bool {
        self.out.lock().state == State::Open
    }

    fn close(&self, close: Close) {
        self.close_in(&mut self.out.lock(), close);
    }

    fn reconnect(&self, after: Duration) {
        let mut out = self.out.lock();
        if out.state == State::Open {
            // A client that was not told yet that it is connected holds no place to come back to.
            if let Some(epoch) = out.epoch.take() {
                let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                let cursor = out.outbox.cursor();
                out.outbox.tell_dropped_now(|count| self.dropped(count));
                out.outbox.push(frame::text(&text::reconnect(after, cursor, &epoch)).into());
            }
            self.close_in(&mut out, Close::GoingAway);
        }
    }

    fn tell_expired(&self, grace: Duration) -> bool {
        let mut out = self.out.lock();
        let is_told = out.state == State::Open && out.outbox.is_listening();
        if is_told {
            out.outbox.push(frame::text(&text::token_expired(grace.as_secs(), self.clock.wall())).into());
            self.write(&mut out);
        }
        is_told
    }

    fn check_liveness(&self, now: Instant, ping: bool, slow_timeout: Duration) {
        let mut out = self.out.lock();
        if out.stalled_since.is_some_and(|since| now.duration_since(since) >= slow_timeout) {
            self.close_in(&mut out, Close::TooSlow);
        } else if ping && !out.blocked && out.state == State::Open {
            if self.heard.swap(false, Ordering::Relaxed) {
                out.outbox.push(frame::ping().into());
                self.write(&mut out);
            } else {
                // Whether it is silent, or was not listened to, the session's task finds out.
                out.doubted = true;
                self.wake.notify_one();
            }
        }
    }
}
