//! Lines of the table that goes into BENCHMARKS.md, and of the file of figures.
#![allow(clippy::print_stdout)]

use std::{
    fmt::Display,
    fs::File,
    io::{BufWriter, Write},
    time::Duration,
};

use serde_json::json;

use crate::{
    Result,
    args::{Args, Part},
};

/// What was measured of one thing.
pub(crate) struct Table<'a> {
    args: &'a Args,
    part: Part,
    /// Of which of several that have the same lines.
    of: Option<String>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(args: &'a Args, part: Part, title: &str) -> Self {
        println!("\n### {title}\n\n| | median | rounds |\n| --- | --- | --- |");
        Self { args, part, of: None }
    }

    pub(crate) fn of(self, of: String) -> Self {
        Self { of: Some(of), ..self }
    }

    /// One figure of each round. Gives the one that counts.
    pub(crate) fn line(&self, what: &str, unit: &str, rounds: &[f64]) -> Result<f64> {
        let median = median(rounds);
        let shown: Vec<String> = rounds.iter().map(|figure| round(*figure)).collect();
        println!("| {what} | **{}** {unit} | {} |", round(median), shown.join(", "));
        self.note(what, unit, rounds)?;
        Ok(median)
    }

    fn note(&self, what: &str, unit: &str, rounds: &[f64]) -> Result<()> {
        let Some(path) = &self.args.figures else { return Ok(()) };
        let figure = self.of.as_ref().map_or_else(|| what.to_owned(), |of| format!("{of}: {what}"));
        let better = if unit == "/s" { "more" } else { "less" };
        let mut file = BufWriter::new(File::options().create(true).append(true).open(path)?);
        for value in rounds {
            let series = format!("journal {}", self.part.name());
            let line = json!({ "series": series, "figure": figure, "unit": unit, "better": better, "value": value });
            writeln!(file, "{line}")?;
        }
        Ok(file.flush()?)
    }
}

/// A remark below the table.
pub(crate) fn note(text: impl Display) {
    println!("{text}");
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
