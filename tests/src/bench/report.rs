//! What a benchmark found, as a table and as JSON.

use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One figure next to its peers' and its target.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub case: String,
    /// Which property of it.
    pub metric: String,
    /// Unit of all figures.
    pub unit: String,
    /// Our figure.
    pub ours: f64,
    /// The peers' figures by name.
    pub peers: BTreeMap<String, f64>,
    /// The target in words, if there is one.
    pub target: Option<String>,
    /// Whether it is met.
    pub met: Option<bool>,
}

impl Row {
    /// A figure without peers and target.
    pub fn new(case: impl Into<String>, metric: &str, unit: &str, ours: f64) -> Self {
        Self {
            case: case.into(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            ours,
            peers: BTreeMap::new(),
            target: None,
            met: None,
        }
    }

    /// Adds a peer's figure.
    #[must_use]
    pub fn peer(mut self, name: &str, figure: f64) -> Self {
        self.peers.insert(name.to_owned(), figure);
        self
    }

    /// Adds a target: our figure is at most this.
    #[must_use]
    pub fn at_most(mut self, limit: f64) -> Self {
        self.target = Some(format!("≤ {}", figure(limit)));
        self.met = Some(self.ours <= limit);
        self
    }

    /// Adds a target: our figure is at least this.
    #[must_use]
    pub fn at_least(mut self, limit: f64) -> Self {
        self.target = Some(format!("≥ {}", figure(limit)));
        self.met = Some(self.ours >= limit);
        self
    }

    /// Adds a target: our figure is at most `ratio` times the peer's.
    #[must_use]
    pub fn at_most_of(mut self, peer: &str, ratio: f64, words: &str) -> Self {
        self.target = Some(format!("≤ {words} {peer}"));
        self.met = self.peers.get(peer).map(|theirs| self.ours <= theirs * ratio);
        self
    }

    /// Adds a target: our figure is at least `ratio` times the peer's.
    #[must_use]
    pub fn at_least_of(mut self, peer: &str, ratio: f64) -> Self {
        self.target = Some(format!("≥ {ratio} × {peer}"));
        self.met = self.peers.get(peer).map(|theirs| self.ours >= theirs * ratio);
        self
    }
}

/// All figures of a benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// What it ran on.
    pub machine: String,
    /// Its figures.
    pub rows: Vec<Row>,
}

fn figure(value: f64) -> String {
    if value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

impl Report {
    /// A report about this machine.
    pub fn new(name: &str, rows: Vec<Row>) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
        let machine = format!(
            "Linux {}, {cpus} CPUs, {}",
            read("/proc/sys/kernel/osrelease").trim(),
            model.trim_start_matches([' ', '\t', ':']).trim()
        );
        Self { name: name.to_owned(), machine, rows }
    }

    /// A Markdown table.
    pub fn markdown(&self) -> String {
        let mut peers: Vec<&String> = self.rows.iter().flat_map(|row| row.peers.keys()).collect();
        peers.sort();
        peers.dedup();
        let mut text = format!("{}\n\n| case | metric | ours |", self.machine);
        for peer in &peers {
            text.push_str(&format!(" {peer} |"));
        }
        text.push_str(" target | met |\n|---|---|---|");
        text.push_str(&"---|".repeat(peers.len() + 2));
        for row in &self.rows {
            text.push_str(&format!(
                "\n| {} | {} | {} {} |",
                row.case,
                row.metric,
                figure(row.ours),
                row.unit
            ));
            for peer in &peers {
                text.push_str(
                    &row.peers.get(*peer).map_or(" |".to_owned(), |found| format!(" {} |", figure(*found))),
                );
            }
            let met = row.met.map_or("", |met| if met { "yes" } else { "**no**" });
            text.push_str(&format!(" {} | {met} |", row.target.as_deref().unwrap_or("")));
        }
        text.push('\n');
        text
    }

    /// Writes `DIR/NAME.json`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let path = dir.join(format!("{}.json", self.name));
        std::fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("writing {}", path.display()))
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_shown_as_missed() {
        let row = Row::new("vip miss", "time", "ns", 30.0).at_most(25.0);
        assert_eq!(row.met, Some(false));
        let text = Report { name: "x".into(), machine: "m".into(), rows: vec![row] }.markdown();
        assert!(text.contains("| vip miss | time | 30.0 ns | ≤ 25.0 | **no** |"), "{text}");
    }

    #[test]
    fn ratios_are_taken_against_the_named_peer() {
        let row = Row::new("bulk", "rate", "Gbit/s", 15.0).peer("HAProxy", 10.0).peer("direct", 30.0);
        assert_eq!(row.clone().at_least_of("HAProxy", 1.5).met, Some(true));
        assert_eq!(row.at_least_of("direct", 1.0).met, Some(false));
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
