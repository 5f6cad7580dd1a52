//! Watches over a gRPC subscription whether or not its client reads: while the client takes nothing, its stream is not asked for
//! anything, so what ends it must come from elsewhere.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

use crate::{
    delivery::{Filter, StreamSubscriber},
    domain::{Audience, Code},
    egress::grpc::Grpc,
    gate::{Right, Standing, TokenError, Transit},
    wire::status::{grpc_over, grpc_status},
};

/// Watches a subscription, and ends it when it must not go on.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) subscriber: Arc<StreamSubscriber<Grpc>>,
    pub(super) standing: Standing,
    /// What it hears.
    pub(super) filter: Filter,
    /// When the call is over.
    pub(super) deadline: Option<Instant>,
    /// How long nothing may be taken of what waits.
    pub(super) slow_timeout: Duration,
    /// What of the answer is on its way.
    pub(super) transit: Option<Transit>,
}

impl Watcher {
    /// Watches until the subscription is over, by itself or because it must be, and until nothing is left of it.
    pub(super) async fn watch(mut self) {
        let subscriber = Arc::clone(&self.subscriber);
        let late = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let mut slow = pin!(subscriber.until_too_slow(self.slow_timeout));
        let mut late = pin!(late);
        let status = loop {
            tokio::select! {
                () = subscriber.gone() => break None,
                () = &mut late => break Some(grpc_over()),
                () = &mut slow => break Some(too_slow(self.slow_timeout)),
                changed = self.standing.changed() => {
                    let judged = match changed {
                        Ok(()) => judge(&mut self.standing, self.filter.audiences()),
                        Err(error) => Err(no_longer_good(error)),
                    };
                    if let Err(status) = judged {
                        break Some(status);
                    }
                }
            }
        };
        if let Some(status) = status {
            subscriber.end(status);
        }
        if let Some(transit) = &self.transit {
            see_off(transit, self.slow_timeout).await;
        }
        subscriber.transport().holds.taken_all();
    }
}

/// Waits until nothing is left of an answer that is over. A client that does not take it within `time` is hung up on: nothing less
/// frees what the transport holds for it.
async fn see_off(transit: &Transit, time: Duration) {
    if timeout(time, transit.gone()).await.is_err() {
        transit.hang_up();
        transit.gone().await;
    }
}

/// Whether a subscription to `wanted` may go on.
pub(super) fn judge(standing: &mut Standing, wanted: Option<&[Audience]>) -> Result<(), Status> {
    if standing.check().map_err(no_longer_good)? == Right::Same {
        return Ok(());
    }
    let caller = standing.caller();
    let judged = caller.subscriber().and_then(|permit| permit.check_all(wanted));
    judged.map_err(|denied| caller.refuse(denied))
}

fn no_longer_good(error: TokenError) -> Status {
    let message = format!("the token is no longer good: {error}; subscribe again with another");
    grpc_status(Code::Unauthenticated, message, None)
}

fn too_slow(time: Duration) -> Status {
    let message = format!(
        "too slow: of what waits nothing was taken for {time:?} (SLOW_TIMEOUT); read faster, and subscribe again with the position you hold"
    );
    grpc_status(Code::Unavailable, message, None)
}
