//! The way out: sessions that listen to rooms and read what they missed, and the transports that pump them.
//!
//! A subscriber is an outbox of [`delivery`](crate::delivery) (what it gets, in which order) and, for a WebSocket, a
//! `session` (who it is, and what its messages do). `ws` and `grpc` pump them, and each knows its transport alone. Nothing here
//! can publish: it reads the rooms and the journal, and relays chat.

mod grpc;
mod history;
mod holding;
mod removal;
mod session;
#[cfg(test)]
mod tests;
mod watcher;
pub mod ws;

use std::{num::NonZeroUsize, time::Duration};

pub use grpc::{NotificationStream, Subscriber};
pub use history::{Gap, History, Recent};
pub use removal::Removal;
pub use session::{ClientWalk, Clients, Sessions};

use clap::{ArgAction, builder::BoolishValueParser};

use crate::gate::RateLimit;

/// The settings of subscribers.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "egress")]
#[command(next_help_heading = "Subscribers")]
pub struct Options {
    /// How many WebSocket connections may be open; further ones get 503.
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "100000", value_name = "N")]
    pub max_connections: NonZeroUsize,

    /// How many rooms one connection may listen to.
    #[arg(long, env = "MAX_ROOMS_PER_CONNECTION", default_value = "64", value_name = "N")]
    pub max_rooms_per_connection: NonZeroUsize,

    /// The largest WebSocket message that a client may send.
    #[arg(long, env = "MAX_MESSAGE_BYTES", default_value = "262144", value_name = "BYTES")]
    pub max_message_bytes: NonZeroUsize,

    /// In how many fragments a WebSocket message may come; a client that goes beyond is closed with 4008.
    #[arg(long, env = "MAX_FRAGMENTS", default_value = "1024", value_name = "N")]
    pub max_fragments: NonZeroUsize,

    /// How long the text of a chat message may be, in bytes, as JSON has it between the quotes; a longer one gets an error.
    #[arg(long, env = "MAX_CHAT_BYTES", default_value = "16384", value_name = "BYTES")]
    pub max_chat_bytes: NonZeroUsize,

    /// How fast a WebSocket client may send messages; one that does not listen to the error is closed with 4008. A message counts as
    /// one for each started 4 KiB, and one more for each fragment after its first. Or off.
    #[arg(long, env = "MESSAGE_RATE", default_value = "1000/10s", value_name = "RATE")]
    pub message_rate: RateLimit,

    /// How much may wait for one subscriber; what does not fit is read from the journal later.
    #[arg(long, env = "SEND_QUEUE_BYTES", default_value = "262144", value_name = "BYTES")]
    pub send_queue_bytes: NonZeroUsize,

    /// How often a WebSocket client is pinged; one that has not answered by the next ping is closed.
    #[arg(long, env = "PING_INTERVAL", default_value = "25s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub ping_interval: Duration,

    /// How long a client may take nothing of what waits for it before it is closed with 4101, or its gRPC stream with UNAVAILABLE.
    #[arg(long, env = "SLOW_TIMEOUT", default_value = "30s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub slow_timeout: Duration,

    /// How long a client whose token expired may take to send another before it is closed with 4003.
    #[arg(long, env = "TOKEN_GRACE", default_value = "30s", value_name = "TIME",
        value_parser = crate::domain::parse_duration)]
    pub token_grace: Duration,

    /// Over how many seconds the clients of a server that goes away are spread when they come back.
    #[arg(long, env = "DRAIN_SECONDS", default_value = "5", value_name = "SECONDS",
        value_parser = crate::domain::parse_duration)]
    pub drain_seconds: Duration,

    /// Whether notifications are compressed for the WebSocket clients that offer permessage-deflate; on or off. It saves their
    /// network at the price of some CPU time for each notification, and for each message that such a client sends.
    #[arg(long, env = "PERMESSAGE_DEFLATE", default_value = "off", value_name = "SWITCH", action = ArgAction::Set,
        value_parser = BoolishValueParser::new())]
    pub permessage_deflate: bool,

    /// Join and leave notices are sent in rooms of up to this many members.
    #[arg(long, env = "PRESENCE_LIMIT", default_value = "256", value_name = "N")]
    pub presence_limit: usize,

    /// How many sessions that ended are logged one by one; of further ones the log has the number, by reason. Or off, for all.
    #[arg(long, env = "LOG_SESSIONS", default_value = "100/s", value_name = "RATE", help_heading = "Logs")]
    pub log_sessions: RateLimit,
}
