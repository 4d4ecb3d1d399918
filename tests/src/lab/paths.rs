//! Where the lab keeps things. All of it is gone after `down`.

use std::path::{Path, PathBuf};

/// Everything the lab writes, one folder per host below it.
pub const STATE_DIR: &str = "/run/lbctl-lab";
/// Held with `flock` by whoever owns the running lab.
pub const LOCK_FILE: &str = "/run/lbctl-lab.lock";
/// Control sockets of the agents.
pub const SOCKET_DIR: &str = "/run/lbctl";
/// Where the BPF file system belongs.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Pinned maps and links of the agents, one folder per node below it.
pub const PIN_DIR: &str = "/sys/fs/bpf/lbctl";

/// The folder of one host's configuration, data and logs.
pub fn host_dir(host: &str) -> PathBuf {
    Path::new(STATE_DIR).join(host.strip_prefix("lab-").unwrap_or(host))
}

/// The network namespace of a host, for `nsenter --net=` and setns.
pub fn namespace(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}
