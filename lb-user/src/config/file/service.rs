//! What is served, how it is checked, and its backends.
//!
//! Owns the keys of `[service.NAME]`, of its health checks and of its backends; other tables inside are in modules of their own.

use serde::Deserialize;

use super::mysql::FileMysql;
use super::proxy::FileProxy;
use super::tls::{FileBackendTls, FileTls};
use super::value::{DurationText, OneOrMany};

/// `[service.NAME]`
///
/// What is served at a port of VIPs, and by which backends.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileService {
    /// text or list | required | names of VIPs in this file
    pub(in crate::config) vips: Option<OneOrMany<String>>,
    /// integer | required | 1 to 65535; one service for each VIP address and port
    pub(in crate::config) port: Option<i64>,
    /// text | `"nat"` | `nat`, `dsr`, `tcp`, `tls`, `mysql`, `redirect-https`; see [below](#modes)
    pub(in crate::config) mode: Option<String>,
    /// text | `"tcp"` | `tcp`, `udp`
    pub(in crate::config) protocol: Option<String>,
    /// boolean | `false` | mode `nat` only; see [below](#modes)
    pub(in crate::config) keep_source: Option<bool>,
    /// text | `"reset"` | `reset`, `drop`, `last-known`; see [below](#when-no-backend-can-take-a-flow)
    pub(in crate::config) when_down: Option<String>,
    /// text | `"allow"` | `allow`, `deny`: what becomes of connections that no [rule](#firewall) decides about
    pub(in crate::config) default_policy: Option<String>,
    /// text | `"round-robin"` | `round-robin`, `least-connections`, `source-hash`, `maglev`; see [below](#schedulers)
    pub(in crate::config) scheduler: Option<String>,
    /// integer | `0`: as many as come | open flows over all its VIPs, in both families together
    pub(in crate::config) max_flows: Option<i64>,
    /// text | `"other-backend"` | `other-backend`, `reset`, `drop`; see [below](#limits)
    pub(in crate::config) at_limit: Option<String>,
    /// integer | `443` | with mode `redirect-https`: the port that requests are sent to
    pub(in crate::config) https_port: Option<i64>,
    /// table | none: no checks | how its backends are [checked](#servicenamehealth)
    pub(in crate::config) health: Option<FileHealth>,
    /// table | empty | modes `tcp`, `tls` and `mysql` only: times and numbers of the [connections](#servicenameproxy)
    /// that the agent serves
    pub(in crate::config) proxy: Option<FileProxy>,
    /// table | none | required with mode `tls`, possible with `mysql`: how clients' [TLS](#servicenametls) ends
    pub(in crate::config) tls: Option<FileTls>,
    /// table | none | modes `tcp`, `tls` and `mysql` only: [TLS with the backends](#servicenamebackend_tls)
    pub(in crate::config) backend_tls: Option<FileBackendTls>,
    /// table | none | required with mode `mysql`, and for it only: [sessions of databases](#servicenamemysql)
    pub(in crate::config) mysql: Option<FileMysql>,
    /// tables | none | `[[service.NAME.backend]]`: its [backends](#servicenamebackend)
    #[serde(default)]
    pub(in crate::config) backend: Vec<FileBackend>,
}

/// `[service.NAME.health]`
///
/// How backends are checked.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileHealth {
    /// text | required | `tcp`, `http`
    pub(in crate::config) r#type: Option<String>,
    /// text | `"/"` | `http` only; begins with `/`, visible ASCII, no `#`
    pub(in crate::config) path: Option<String>,
    /// integer or list | `[200]` | `http` only; 100 to 599
    pub(in crate::config) expect_status: Option<OneOrMany<i64>>,
    /// text | none | `http` only; searched in the first 64 KiB
    pub(in crate::config) expect_body: Option<String>,
    /// duration | `"2s"` | 10 ms to 1 day, start to start, ± 5 %
    pub(in crate::config) interval: Option<DurationText>,
    /// duration | `"1s"`, or the interval if that is shorter | 1 ms up to the interval
    pub(in crate::config) timeout: Option<DurationText>,
    /// integer | `2` | 1 to 100 successes in a row to come up again
    pub(in crate::config) rise: Option<i64>,
    /// integer | `3` | 1 to 100 failures in a row to go down
    pub(in crate::config) fall: Option<i64>,
    /// duration | `"0s"`: off | up to 1 day
    pub(in crate::config) slow_start: Option<DurationText>,
    /// integer | `3` | 0 (off) to 1000 refused connections of clients since the last success of a check take an
    /// address down
    pub(in crate::config) refusals: Option<i64>,
    /// integer | the backend's | 1 to 65535
    pub(in crate::config) port: Option<i64>,
}

/// `[[service.NAME.backend]]`
///
/// One server of a service.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileBackend {
    /// text | required | unique within the service
    pub(in crate::config) name: Option<String>,
    /// text or list | required | `IP:PORT`, `[IP6]:PORT`; at most one of each family; not a VIP; once in the service;
    /// with mode `dsr` the service's port
    pub(in crate::config) address: Option<OneOrMany<String>>,
    /// integer | `1` | 0 to 256; 0 takes no flows
    pub(in crate::config) weight: Option<i64>,
    /// text | `"ready"` | `ready`, `drain` (no new flows), `maint` (no new flows, no checks)
    pub(in crate::config) state: Option<String>,
    /// integer | `0`: as many as come | open flows over both its addresses; see [limits](#limits)
    pub(in crate::config) max_flows: Option<i64>,
    /// text or list | none | modes `tcp` and `tls`: the names, asked for in TLS, [whose connections it
    /// takes](proxy.md#backends-by-name); one may begin with `*.`
    pub(in crate::config) names: Option<OneOrMany<String>>,
}
