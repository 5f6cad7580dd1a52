//! Finding the clients that are gone, and the tokens that expired: one sweep over all connections instead of a timer for each.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    egress::{
        Options,
        session::{handle::SessionHandle, machine::TokenState, registry::Clients},
    },
    wire::status::Close,
};

/// The sweep over all connections that pings them, and closes those that are silent, slow or without a valid token.
#[derive(Debug)]
pub(super) struct KeepAlive {
    clients: Clients,
    ping_interval: Duration,
    slow_timeout: Duration,
    token_grace: Duration,
    draining: CancellationToken,
    clock: Arc<dyn Clock>,
}

impl KeepAlive {
    /// Sweeps over `clients` until `draining` is cancelled.
    pub(super) fn new(options: &Options, clients: Clients, draining: CancellationToken, clock: Arc<dyn Clock>) -> Self {
        let &Options { ping_interval, slow_timeout, token_grace, .. } = options;
        Self { clients, ping_interval, slow_timeout, token_grace, draining, clock }
    }

    /// Looks at all connections, a few times in each ping interval, until the server goes away. Each one is pinged once in an
    /// interval, and not all at the same time.
    pub(super) async fn run(&self) {
        let rounds = rounds(self.ping_interval.min(self.slow_timeout), self.ping_interval);
        let mut ticks = interval(self.ping_interval / rounds);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round = 0;
        while self.draining.run_until_cancelled(ticks.tick()).await.is_some() {
            self.sweep((round, rounds)).await;
            round = (round + 1) % rounds;
        }
    }

    /// Looks at all connections once, and pings those whose turn the round is, out of so many.
    pub(super) async fn sweep(&self, (round, rounds): (u32, u32)) {
        let now = (Instant::now(), self.clock.wall().timestamp());
        let mut walk = self.clients.walk_sessions();
        while let Some(handles) = walk.next().await {
            for handle in handles {
                let ping = handle.session().id().round(rounds) == round;
                handle.check_liveness(now.0, ping, self.slow_timeout);
                check_token(&*handle, now, self.token_grace);
            }
        }
    }
}

/// Tells a client whose token expired, once, and closes it when it has not sent another within `grace`.
fn check_token(handle: &dyn SessionHandle, now: (Instant, i64), grace: Duration) {
    // Held until that is told: a token that the client sends meanwhile is not closed over the old one.
    let mut machine = handle.session().machine();
    match machine.check_token(now, grace) {
        TokenState::InOrder => {}
        TokenState::Expired => {
            if handle.tell_expired(grace) {
                machine.told_expired(now.0);
            }
        }
        TokenState::GraceOver => handle.close(Close::Expired),
    }
}

/// Into how many rounds a ping interval is split: about one a second, and at least four in the shorter of the two times.
fn rounds(shorter: Duration, ping_interval: Duration) -> u32 {
    let round = (shorter / 4).min(Duration::from_secs(1)).max(Duration::from_millis(1));
    let rounds = ping_interval.as_nanos() / round.as_nanos();
    u32::try_from(rounds).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_about_a_second_or_less() {
        let seconds = Duration::from_secs;
        assert_eq!(rounds(seconds(25), seconds(25)), 25);
        assert_eq!(rounds(seconds(1), seconds(1)), 4);
        assert_eq!(rounds(seconds(2), seconds(25)), 50);
        assert_eq!(rounds(Duration::from_nanos(1), Duration::from_nanos(1)), 1);
    }
}
