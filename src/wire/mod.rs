//! What clients see, and how it becomes ours: frames, messages, protobuf, statuses.
//!
//! Conversions only. `status` is the one place where a [`Code`](crate::domain::Code) turns into a gRPC code, an HTTP status
//! or a close code.

pub mod client;
pub mod deflate;
pub mod encoded;
pub mod frame;
pub mod framed;
pub mod json;
pub mod messages;
pub mod notify;
pub mod problem;
pub mod proto;
pub mod quota;
pub mod status;
pub mod streamed;
