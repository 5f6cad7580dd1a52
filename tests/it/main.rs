//! The promises of the service, each kept by the real thing.

mod journal;
