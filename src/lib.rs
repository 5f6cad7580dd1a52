//! The notification gateway of ExposIA: events in over gRPC and `POST /notify`, notifications out over WebSocket, each to
//! the right subscribers, in order, once.
//!
//! The modules in the order of the flow; `ARCHITECTURE.md` says what each may know of the others.

pub mod clock;
pub mod domain;
pub mod heap;
pub mod wire;

pub mod gate;
pub mod ingress;

pub mod broker;
pub mod delivery;
pub mod journal;
pub mod peers;
pub mod rooms;

pub mod egress;
pub mod ops;

pub mod listen;
pub mod pem;
pub mod reload;
pub mod shutdown;
pub mod telemetry;
pub mod worker;

pub mod app;
pub mod config;
