//! The suites of the wire contract, of delivery and of time once more, with the journal in memory.
//!
//! They are the files beside this folder. What they import of `support` is what stands here, and starts the service on the other
//! engine; so a test has the name of its suite on the disk, and `on_memory` before that here.

#![allow(clippy::duplicate_mod, reason = "the same suites, on another engine")]

#[path = "../clock.rs"]
mod clock;
#[path = "../contract_grpc.rs"]
mod contract_grpc;
#[path = "../contract_http.rs"]
mod contract_http;
#[path = "../contract_routing.rs"]
mod contract_routing;
#[path = "../contract_ws.rs"]
mod contract_ws;
#[path = "../delivery.rs"]
mod delivery;
#[path = "../durability.rs"]
mod durability;

/// The verbs of the tests, and a service whose journal is in memory.
mod support {
    pub(crate) use crate::support::*;

    pub(crate) type TestApp = Running<InMemory>;
}
