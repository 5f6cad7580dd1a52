//! Finding the clients that are gone: one sweep over all connections instead of a timer for each.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::egress::ws::Sockets;

/// Looks after all connections, a few times in each ping interval, until the server goes away. Each one is pinged once
/// in an interval, and not all at the same time.
pub async fn keep_alive(sockets: Sockets) {
    let options = &sockets.0.options;
    let rounds = rounds(options.ping_interval.min(options.slow_timeout), options.ping_interval);
    let mut ticks = interval(options.ping_interval / rounds);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = 0;
    while sockets.0.draining.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = Instant::now();
        let time = sockets.0.clock.wall().timestamp();
        let mut walk = sockets.0.clients.walk(None);
        while let Some(connections) = walk.next_connections().await {
            for connection in connections {
                let ping = connection.number() % rounds == round;
                connection.look_after(now, ping, options.slow_timeout);
                connection.look_at_token((now, time), options.token_grace);
            }
        }
        round = (round + 1) % rounds;
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
