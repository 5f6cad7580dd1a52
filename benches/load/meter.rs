//! Counts what arrives, and how long it took.

use std::{mem, ops::Range};

use flate2::{Decompress, FlushDecompress};
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use serde_json::{Value, json};

use crate::Result;

/// One minute, in microseconds: what takes longer is counted as that.
const LONGEST: u64 = 60_000_000;

/// The longest message that is compressed.
const UNPACKED: usize = 256 * 1024;

/// A notification that arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it was sent, and how long it took; nanoseconds.
    sent: u64,
    took: u64,
}

#[derive(Debug)]
pub(crate) struct Meter {
    key: Finder<'static>,
    /// Only what was sent in this time is measured.
    pub(crate) window: Range<u64>,
    /// Notifications that arrived so far.
    pub(crate) total: u64,
    /// How many bytes they had, as they came.
    pub(crate) bytes: u64,
    /// When the last message arrived, notification or not.
    pub(crate) heard: u64,
    latency: Histogram<u32>,
    decompress: Decompress,
    unpacked: Vec<u8>,
    keeps: bool,
    /// Every one that arrived, if they are kept.
    pub(crate) kept: Vec<Sample>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            key: Finder::new(br#""ts":""#),
            window: 0..0,
            total: 0,
            bytes: 0,
            heard: 0,
            latency: Histogram::new_with_max(LONGEST, 3).expect("these bounds are valid"),
            decompress: Decompress::new(false),
            unpacked: Vec::with_capacity(UNPACKED),
            keeps: false,
            kept: Vec::new(),
        }
    }

    /// One that keeps all, for windows that are known only afterwards.
    pub(crate) fn keeping() -> Self {
        Self { keeps: true, ..Self::new() }
    }

    /// Takes in a message. One without a time is not a notification.
    #[inline]
    pub(crate) fn take(&mut self, message: &[u8], now: u64) {
        self.heard = now;
        let Some(place) = self.key.find(message) else { return };
        let digits = message[place + 6..].iter().take_while(|byte| byte.is_ascii_digit());
        let sent = digits.fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
        self.total += 1;
        self.bytes += message.len() as u64;
        let sample = Sample { sent, took: now.saturating_sub(sent) };
        if self.keeps {
            self.kept.push(sample);
        }
        self.record(sample);
    }

    /// The same for one that is compressed by itself.
    pub(crate) fn take_compressed(&mut self, message: &[u8], now: u64) -> Result<()> {
        let mut unpacked = mem::take(&mut self.unpacked);
        unpacked.clear();
        self.decompress.reset(false);
        self.decompress.decompress_vec(message, &mut unpacked, FlushDecompress::Sync)?;
        let (total, bytes) = (self.total, self.bytes);
        self.take(&unpacked, now);
        self.bytes = bytes + (self.total - total) * message.len() as u64;
        self.unpacked = unpacked;
        Ok(())
    }

    /// Counts what was sent in the window.
    #[inline]
    pub(crate) fn record(&mut self, Sample { sent, took }: Sample) {
        if self.window.contains(&sent) {
            self.latency.saturating_record(took / 1_000);
        }
    }

    /// How many of those that were sent in the window arrived.
    pub(crate) fn measured(&self) -> u64 {
        self.latency.len()
    }

    /// Forgets the latencies, to measure in another window.
    pub(crate) fn restart(&mut self, window: Range<u64>) {
        self.latency.reset();
        self.window = window;
    }

    /// Latencies in microseconds.
    pub(crate) fn latency(&self) -> Value {
        let at = |percent| self.latency.value_at_quantile(percent);
        json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": self.latency.max() })
    }
}
