//! The values that everything else speaks of: events, audiences, positions, codes.
//!
//! Values only: no tokio, no I/O, no framework. Whatever can be wrong in them is refused when they are
//! made, so that a value that exists is a valid one.

mod audience;
mod client;
mod code;
mod delivery;
mod draft;
mod duration;
mod event;
mod forms;
mod interest;
mod key;
mod name;
mod notice;
mod number;
mod pattern;
mod payload;
mod peer;
mod position;
mod recovery;
mod spelling;

pub use audience::{Audience, Audiences, MAX_TARGETS, TargetError};
pub use client::ClientInfo;
pub use code::Code;
pub use delivery::{Break, Content, Delivery, Ephemeral, EphemeralEvent, Publication};
pub use draft::{Draft, DraftFields, EventError, MAX_EVENT_CHARS, MAX_TTL};
pub use duration::{parse_duration, parse_positive_duration};
pub use event::{Durability, Event, Notification, notification_id};
pub use forms::Forms;
pub use interest::Interest;
pub use key::{Fingerprint, IdempotencyKey, KeyOwner};
pub use name::{ClientId, MAX_NAME_CHARS, NameError, RoomId, UserId};
pub use notice::{JsonText, Notice};
pub use number::number_name;
pub use pattern::{Captures, Pattern, SyntaxError, TemplatePart, placeholders};
pub use payload::{FieldNames, Identifiers, Payload, PayloadError};
pub use peer::{Certificate, CertificateName, NameKind, Peer, counted, has_scheme};
pub use position::{Epoch, Position, Seq};
pub use recovery::Recovery;
pub use spelling::is_mistyped;
