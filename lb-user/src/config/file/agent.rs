//! The agent itself: its rights, its log, its socket, its figures.
//!
//! Owns the keys of `[agent]`, `[control]`, `[log]` and `[metrics]`.

use serde::Deserialize;

use super::value::OneOrMany;

/// `[agent]`
///
/// What the agent keeps of the rights it is started with.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileAgent {
    /// text | who started it | the user that the agent is once it has started. Its file, and the folder that is in,
    /// have to be that user's for commands to be saved; keys and certificates have to be readable for it; `pin_dir`
    /// has to be somewhere it can reach (`/run/lbctl/pins`: where it is no BPF file system yet, the agent mounts
    /// one). Not with `confine = false`
    pub(in crate::config) user: Option<String>,
    /// boolean | `true` | the agent gives up all [capabilities](security.md#what-the-agent-gives-up) but five, system
    /// calls it never needs, and writing elsewhere than where it has to
    pub(in crate::config) confine: Option<bool>,
    /// text or list | none | folders, not `/`, where the agent's commands ([`[notify]`](#notify), [trackers](#trackname)) may
    /// write besides the folders of its own files
    pub(in crate::config) writable: Option<OneOrMany<String>>,
}

/// `[control]`
///
/// The socket of the control API.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileControl {
    /// text | `"/run/lbctl/lbctl.sock"` | absolute, at most 107 bytes (restart)
    pub(in crate::config) socket: Option<String>,
    /// text | none: only root writes | a group of this machine (restart)
    pub(in crate::config) group: Option<String>,
    /// boolean | `false` | whether all users of this machine may read (restart)
    pub(in crate::config) others_may_read: Option<bool>,
}

/// `[log]`
///
/// The agent's log.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileLog {
    /// text | `"info"` | `off`, `error`, `warn`, `info`, `debug`, `trace`; after a comma other levels for parts:
    /// `"info,lbctl::connection=off"`, `"warn,lb_user::io::vrrp=debug"`. `LBCTL_LOG` goes before it at the start,
    /// [`lbctl log level`](cli.md#looking) while the agent runs
    pub(in crate::config) level: Option<String>,
    /// text | `"auto"` | `text`, `json` (an object on each line), `journald` (fields of systemd's journal), `auto`:
    /// text on a terminal, else the journal where standard error is one, else JSON (restart)
    pub(in crate::config) format: Option<String>,
}

/// `[metrics]`
///
/// Where figures are shown.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileMetrics {
    /// text | `"127.0.0.1:9788"` | an address and port; whoever reaches it can read it
    pub(in crate::config) listen: Option<String>,
}
