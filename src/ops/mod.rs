//! For operators and for whoever looks in: health, statistics, the index, the interface description, the console.

mod console;
mod health;
mod index;
mod page;
mod probe;
mod stats;
mod stranger;

use std::sync::Arc;

use axum::Router;

pub use health::{Health, Phase};
pub use probe::{ProbeError, probe};
pub use stats::Stats;

/// The routes of operators.
pub fn router(health: Health, stats: Stats) -> Router {
    index::router(Arc::clone(&health.clock)).merge(console::router()).merge(health.router()).merge(stats.router())
}
