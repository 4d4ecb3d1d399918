//! Which flows, or which connections: what both are asked for by.

use super::duration;
use super::flow::prefix;
use crate::model::{BackendName, ServiceName};
use clap::Args;
use ipnet::IpNet;
use std::time::Duration;

/// All of it has to apply.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// Only of this service.
    #[arg(long)]
    pub service: Option<ServiceName>,
    /// Only of backends of this name.
    #[arg(long)]
    pub backend: Option<BackendName>,
    /// Only of these clients: an address or a prefix.
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub client: Option<IpNet>,
    /// Only those whose clients have been silent for so long.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle: Option<Duration>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
}

impl WhichArgs {
    /// The request for them, and for what else has to apply: names of the API with their values.
    pub fn query(&self, path: &str, more: &[(&str, Option<String>)]) -> String {
        let own = [
            ("limit", Some(self.limit.to_string())),
            ("service", self.service.as_ref().map(ToString::to_string)),
            ("backend", self.backend.as_ref().map(ToString::to_string)),
            ("client", self.client.map(|prefix| prefix.to_string())),
            ("idle_ms", self.idle.map(|idle| idle.as_millis().to_string())),
        ];
        let wanted =
            own.iter().chain(more).filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        format!("{path}?{}", wanted.collect::<Vec<_>>().join("&"))
    }
}
