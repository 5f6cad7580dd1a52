//! For operators and for whoever looks in: health, statistics, the index, the interface description, the console.

mod console;
mod health;
mod index;
mod insecure_tls;
mod page;
mod probe;
mod stats;

use std::sync::Arc;

use axum::Router;

pub use health::{Health, HealthPart, Phase};
pub use probe::{ProbeError, Said, probe};
pub use stats::Stats;

/// The routes of operators. The console fills in `known_token`, which must be no secret.
pub fn router(health: Health, stats: Stats, known_token: Option<&'static str>) -> Router {
    index::router(Arc::clone(&health.clock))
        .merge(console::router(known_token))
        .merge(health.router())
        .merge(stats.router())
}
