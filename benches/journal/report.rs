//! Lines of the table that goes into BENCHMARKS.md.
#![allow(clippy::print_stdout)]

use std::{fmt::Display, time::Duration};

/// One figure of each round, and the one that counts.
pub(crate) fn line(what: &str, unit: &str, rounds: &[f64]) -> f64 {
    let median = median(rounds);
    let rounds: Vec<String> = rounds.iter().map(|figure| round(*figure)).collect();
    println!("| {what} | **{}** {unit} | {} |", round(median), rounds.join(", "));
    median
}

/// A remark below the table.
pub(crate) fn note(text: impl Display) {
    println!("{text}");
}

pub(crate) fn head(title: &str) {
    println!("\n### {title}\n\n| | median | rounds |\n| --- | --- | --- |");
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50.0)
}

pub(crate) fn percentile(figures: &[f64], percent: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 - 1.0) * percent / 100.0;
    sorted.get(place.round() as usize).copied().unwrap_or(f64::NAN)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn round(figure: f64) -> String {
    if figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}
