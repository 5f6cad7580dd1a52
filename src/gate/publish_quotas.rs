//! How much each publisher may publish.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;

use crate::{
    gate::{Credential, Error, Rate, rate::Bucket},
    wire::quota::Quota,
};

/// How many publishers are remembered. Those that were here longest ago are forgotten first, and their buckets are full
/// when they come again.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// The token buckets of publishers. A credential has one for each rate that its tokens claim.
#[derive(Debug)]
pub(super) struct PublishQuotas {
    /// The rate of those that claim none.
    rate: Option<Rate>,
    by_publisher: Mutex<LruCache<(Credential, Rate), Arc<Bucket>>>,
}

impl PublishQuotas {
    /// Makes the quotas of a service; without a rate, publishers that claim none go as fast as they can.
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, by_publisher: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// How much `credential` may publish, if that is limited.
    pub(super) fn quota(&self, credential: &Credential, claimed: Option<Rate>) -> Option<PublishQuota> {
        let rate = claimed.or(self.rate)?;
        let mut by_publisher = self.by_publisher.lock();
        let bucket = by_publisher.get_or_insert((credential.clone(), rate), || Arc::new(Bucket::new(rate)));
        Some(PublishQuota { credential: credential.clone(), rate, bucket: Arc::clone(bucket) })
    }
}

/// How much somebody may publish.
#[derive(Debug)]
pub struct PublishQuota {
    credential: Credential,
    rate: Rate,
    bucket: Arc<Bucket>,
}

impl PublishQuota {
    /// Takes one publish out, and says what is left.
    pub fn take(&self) -> Result<Quota, Error> {
        let left = self.bucket.take().map_err(|wait| Error::PublishRate(self.credential.clone(), self.rate, wait))?;
        Ok(told(self.rate, left))
    }
}

/// What is left of a publisher's rate, as it is told.
pub(super) fn told(rate: Rate, left: u32) -> Quota {
    Quota { policy: "publish", count: rate.count.get(), window: rate.period, left }
}
