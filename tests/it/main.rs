//! The promises of the service, each kept by the real thing: the `App` in this process, or the binary itself, on free
//! ports, with real clients.
//!
//! The journal is a file, as it is wherever the service is deployed; the suites that say what clients see run on the engine in
//! memory as well (`on_memory`).

#![allow(clippy::disallowed_methods, reason = "a test awaits what it spawns")]

mod support;

mod check;
mod clients;
mod clock;
mod compression;
mod console;
mod contract_grpc;
mod contract_http;
mod contract_routing;
mod contract_ws;
mod delivery;
mod durability;
mod early_answers;
mod engine;
mod gate;
mod hostile;
mod hostile_grpc;
mod hostile_http;
mod hostile_http2;
mod hostile_mix;
mod hostile_websocket;
mod journal;
mod life;
mod limits;
mod many_threads;
mod on_memory;
mod original;
mod pages;
mod paths;
mod places;
mod proxies;
mod rfc6455;
// Only builds for tests can be told to break.
#[cfg(debug_assertions)]
mod supervision;
mod tls;
mod turns;
