//! MySQL as the lab runs it: from the folder of another Debian, with that folder's own loader and libraries, and no chroot.
//!
//! Owns its arguments and what it calls things. Small and quick, like [`super::mariadb`].

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::addresses::{DATABASES, ipv4_of};

/// Its loader, which is what is started.
pub(super) fn program(root: &Path) -> PathBuf {
    root.join("lib64/ld-linux-x86-64.so.2")
}

/// What the loader is told, and the server finds its files by.
fn first_arguments(root: &Path) -> Vec<String> {
    let root = root.display();
    vec![
        "--library-path".into(),
        format!("{root}/usr/lib/x86_64-linux-gnu"),
        format!("{root}/usr/sbin/mysqld"),
        "--no-defaults".into(),
        "--user=mysql".into(),
        format!("--basedir={root}/usr"),
        format!("--lc-messages-dir={root}/usr/share/mysql"),
        format!("--character-sets-dir={root}/usr/share/mysql/charsets"),
        format!("--plugin-dir={root}/usr/lib/mysql/plugin"),
        "--secure-file-priv=".into(),
        "--innodb-buffer-pool-size=24M".into(),
        "--innodb-redo-log-capacity=16M".into(),
        "--innodb-use-native-aio=0".into(),
        "--performance-schema=OFF".into(),
    ]
}

/// Makes a data folder.
pub(super) fn install(root: &Path, data: &Path) -> Command {
    let mut command = Command::new(program(root));
    command.args(first_arguments(root));
    command.args([format!("--datadir={}", data.display()), "--initialize-insecure".into()]);
    command
}

pub(super) fn arguments(root: &Path, number: usize, db: &str, folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let mut arguments = first_arguments(root);
    arguments.extend([
        format!("--datadir={folder}/data"),
        format!("--socket={folder}/database.sock"),
        format!("--pid-file={folder}/database.pid"),
        "--port=3306".into(),
        "--bind-address=*".into(),
        "--mysqlx=OFF".into(),
        "--skip-name-resolve".into(),
        format!("--server-id={number}"),
        format!("--report-host={}", ipv4_of(db)),
        "--log-bin=binlog".into(),
        // As it came, before anything is read out of it.
        "--log-raw=ON".into(),
        "--gtid-mode=ON".into(),
        "--enforce-gtid-consistency=ON".into(),
        "--relay-log=relay".into(),
        "--sync-binlog=0".into(),
        "--innodb-flush-log-at-trx-commit=2".into(),
        "--table-open-cache=200".into(),
        "--max-connections=500".into(),
    ]);
    if number != 1 {
        arguments.push("--read-only=1".into());
    }
    arguments
}

/// What the monitor may do, which also promotes.
pub(super) const MONITORS: &str =
    "REPLICATION CLIENT, SYSTEM_VARIABLES_ADMIN, REPLICATION_SLAVE_ADMIN, RELOAD";

/// Begins to replicate.
pub(super) fn replicate() -> String {
    format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='{}', SOURCE_PORT=3306, SOURCE_USER='replication', \
         SOURCE_PASSWORD='replication-password', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1;\n\
         START REPLICA;\n",
        ipv4_of(DATABASES[0])
    )
}

/// Which transactions a server has.
pub(super) const POSITION: &str = "SELECT REPLACE(@@gtid_executed, '\n', '')";

/// Waits half a second for a position; `0`: it is reached.
pub(super) fn reach(position: &str) -> String {
    format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 0.5)")
}

/// How the replication goes, and the fields that say so.
pub(super) const REPLICATION: (&str, [&str; 4]) = (
    "SHOW REPLICA STATUS\\G",
    ["Replica_IO_Running", "Replica_SQL_Running", "Last_IO_Error", "Last_SQL_Error"],
);
