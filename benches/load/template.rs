//! Texts with places to fill in.

use std::io::Write;

/// What is filled in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values {
    pub(crate) ts: u64,
    pub(crate) seq: u64,
    pub(crate) room: u32,
    pub(crate) i: u32,
}

/// A text that is split at its places once, and filled in often.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Ts,
    Seq,
    Room,
    Hundred,
    Index,
}

impl Template {
    /// `{ts}`, `{seq}`, `{room}`, `{hundred}` and `{i}` are places, `{pad}` stands for `pad` letters, and every other brace for itself.
    pub(crate) fn new(text: &str, pad: usize) -> Self {
        let mut rest = text.replace("{pad}", &"x".repeat(pad));
        let mut parts = Vec::new();
        let first_place = |text: &str| {
            let places = [
                ("{ts}", Part::Ts),
                ("{seq}", Part::Seq),
                ("{room}", Part::Room),
                ("{hundred}", Part::Hundred),
                ("{i}", Part::Index),
            ];
            let found = places.into_iter().filter_map(|(name, part)| Some((text.find(name)?, name.len(), part)));
            found.min_by_key(|(start, ..)| *start)
        };
        while let Some((start, length, part)) = first_place(&rest) {
            let behind = rest.split_off(start + length);
            rest.truncate(start);
            parts.extend([Part::Text(std::mem::replace(&mut rest, behind)), part]);
        }
        parts.push(Part::Text(rest));
        Self(parts)
    }

    pub(crate) fn fill(&self, values: Values, out: &mut Vec<u8>) {
        for part in &self.0 {
            let written = match part {
                Part::Text(text) => out.write_all(text.as_bytes()),
                Part::Ts => write!(out, "{}", values.ts),
                Part::Seq => write!(out, "{}", values.seq),
                Part::Room => write!(out, "{}", values.room),
                Part::Hundred => {
                    let names = (values.room * 100..).take(100).map(|room| format!("\"r{room}\""));
                    write!(out, "{}", names.collect::<Vec<_>>().join(","))
                }
                Part::Index => write!(out, "{}", values.i),
            };
            written.expect("a vector takes everything");
        }
    }
}
