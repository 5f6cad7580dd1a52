//! A connection as everybody sees it who knows no transport: what its session is, and what it can be told.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use crate::{
    egress::{
        session::{Session, SessionHandle},
        ws::{Connection, send_state::SocketState},
    },
    wire::{frame, json, status::Close},
};

impl SessionHandle for Connection {
    fn session(&self) -> &Session {
        &self.session
    }

    fn is_open(&self) -> bool {
        self.send_state.lock().state == SocketState::Open
    }

    fn close(&self, close: Close) {
        self.close_in(&mut self.send_state.lock(), close);
    }

    fn reconnect(&self, after: Duration) {
        let mut sending = self.send_state.lock();
        if sending.state == SocketState::Open {
            // A client that was not told yet that it is connected holds no position to come back to.
            if let Some(epoch) = sending.epoch.take() {
                let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                let cursor = sending.outbox.cursor();
                sending.outbox.tell_dropped_now(|count| self.dropped(count));
                sending.outbox.push(frame::text(&json::reconnect(after, cursor, &epoch)).into());
            }
            self.close_in(&mut sending, Close::GoingAway);
        }
    }

    fn tell_expired(&self, grace: Duration) -> bool {
        let mut sending = self.send_state.lock();
        let is_told = sending.state == SocketState::Open && sending.outbox.is_listening();
        if is_told {
            sending.outbox.push(frame::text(&json::token_expired(grace.as_secs(), self.clock.wall())).into());
            self.write(&mut sending);
        }
        is_told
    }

    fn check_liveness(&self, now: Instant, ping: bool, slow_timeout: Duration) {
        let mut sending = self.send_state.lock();
        if sending.stalled_since.is_some_and(|since| now.duration_since(since) >= slow_timeout) {
            self.close_in(&mut sending, Close::TooSlow);
        } else if ping && !sending.blocked && sending.state == SocketState::Open {
            if self.heard.swap(false, Ordering::Relaxed) {
                sending.outbox.push(frame::ping().into());
                self.write(&mut sending);
            } else {
                // Whether it is silent, or was not listened to, the session's task finds sending.
                sending.doubted = true;
                self.wake.notify_one();
            }
        }
    }
}
