//! MariaDB as the lab runs it.
//!
//! Owns its arguments and what it calls things. Tuned to start fast and stay small, not to be durable: the data is thrown away with the lab.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::super::addresses::{DATABASES, ipv4_of};
use super::super::programs;

const SMALL_AND_QUICK: [&str; 15] = [
    "--innodb-buffer-pool-size=24M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-use-native-aio=0",
    "--innodb-buffer-pool-dump-at-shutdown=0",
    "--innodb-buffer-pool-load-at-startup=0",
    "--sync-binlog=0",
    "--aria-pagecache-buffer-size=2M",
    "--aria-log-file-size=8M",
    "--key-buffer-size=1M",
    "--query-cache-size=0",
    "--performance-schema=0",
    "--table-open-cache=200",
    "--max-connections=500",
    "--open-files-limit=4096",
];

/// Where it is.
pub(super) fn program() -> Result<PathBuf> {
    programs::find("mariadbd")
}

/// Makes a data folder.
pub(super) fn install(data: &Path) -> Result<Command> {
    let mut command = Command::new(programs::find("mariadb-install-db")?);
    command.args([
        "--no-defaults",
        "--user=mysql",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]);
    command.arg(format!("--datadir={}", data.display())).args(SMALL_AND_QUICK);
    Ok(command)
}

pub(super) fn arguments(number: usize, db: &str, folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let mut arguments = vec![
        "--no-defaults".into(),
        "--user=mysql".into(),
        format!("--datadir={folder}/data"),
        format!("--socket={folder}/database.sock"),
        format!("--pid-file={folder}/database.pid"),
        "--port=3306".into(),
        "--bind-address=*".into(),
        "--skip-name-resolve".into(),
        format!("--server-id={number}"),
        format!("--report-host={}", ipv4_of(db)),
        "--log-bin=binlog".into(),
        "--binlog-format=ROW".into(),
        "--log-slave-updates".into(),
        "--gtid-strict-mode=1".into(),
        "--relay-log=relay".into(),
    ];
    arguments.extend(SMALL_AND_QUICK.map(String::from));
    if number != 1 {
        arguments.push("--read-only=1".into());
    }
    arguments
}

/// What the monitor may do, which also promotes.
pub(super) const MONITORS: &str =
    "BINLOG MONITOR, SLAVE MONITOR, READ_ONLY ADMIN, REPLICATION SLAVE ADMIN, RELOAD";

/// Begins to replicate.
pub(super) fn replicate() -> String {
    format!(
        "CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT=3306, MASTER_USER='replication', \
         MASTER_PASSWORD='replication-password', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1;\n\
         START SLAVE;\n",
        ipv4_of(DATABASES[0])
    )
}

/// Which transactions a server has.
pub(super) const POSITION: &str = "SELECT @@gtid_binlog_pos";

/// Waits half a second for a position; `0`: it is reached.
pub(super) fn reach(position: &str) -> String {
    format!("SELECT MASTER_GTID_WAIT('{position}', 0.5)")
}

/// How the replication goes, and the fields that say so.
pub(super) const REPLICATION: (&str, [&str; 4]) =
    ("SHOW SLAVE STATUS\\G", ["Slave_IO_Running", "Slave_SQL_Running", "Last_IO_Error", "Last_SQL_Error"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_replica_is_read_only() {
        let arguments = |number, db| arguments(number, db, Path::new("/x"));
        assert!(!arguments(1, "db1").contains(&"--read-only=1".to_owned()));
        assert!(arguments(2, "db2").contains(&"--read-only=1".to_owned()));
        assert!(arguments(2, "db2").contains(&"--server-id=2".to_owned()));
    }

    #[test]
    fn defaults_of_the_machine_are_not_read() {
        // mariadbd insists on this being the first argument.
        assert_eq!(arguments(1, "db1", Path::new("/x"))[0], "--no-defaults");
    }
}
