//! The databases: a MariaDB primary on db1 and its replica on db2, joined by GTID replication.
//!
//! Tuned to start fast and stay small, not to be durable: the data is thrown away with the lab.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::addresses::{DATABASES, ipv4_of};
use super::state::StateFile;
use super::{Lab, paths, poll, processes, programs};

/// The name of MariaDB among a host's processes.
pub(super) const PROCESS: &str = "mariadbd";

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

/// Data folders being made in the background while the network is set up.
#[derive(Debug)]
pub(super) struct Preparation(Option<JoinHandle<Result<()>>>);

impl Preparation {
    /// Begins.
    pub(super) fn start() -> Result<Preparation> {
        let worker = std::thread::Builder::new().name("databases".into()).spawn(make_data_folders);
        Ok(Preparation(Some(worker.context("starting a thread")?)))
    }

    /// Waits for the end.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.0.take() {
            Some(worker) => worker.join().map_err(|_| anyhow!("making the databases' folders panicked"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Preparation {
    /// When the lab fails meanwhile: the folder must not grow while it is being removed.
    fn drop(&mut self) {
        if let Some(worker) = self.0.take() {
            let _ = worker.join();
        }
    }
}

fn data_dir(db: &str) -> PathBuf {
    paths::host_dir(db).join("data")
}

fn socket(db: &str) -> PathBuf {
    paths::host_dir(db).join("mariadbd.sock")
}

/// A client on the server's own socket, as root.
pub(super) fn client(db: &str) -> Command {
    let db = db.strip_prefix("lab-").unwrap_or(db);
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--user=root", "--batch", "--skip-column-names"]);
    command.arg("--connect-timeout=2").arg(format!("--socket={}", socket(db).display()));
    command.env("PATH", programs::search_path());
    command
}

/// Installs one data folder and copies it for the other server: installing takes a second, copying
/// almost nothing.
fn make_data_folders() -> Result<()> {
    let [primary, replica] = DATABASES.map(data_dir);
    for db in DATABASES {
        let folder = paths::host_dir(db);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        std::os::unix::fs::chown(&folder, user_id("mysql")?, None)
            .with_context(|| format!("giving {} to mysql", folder.display()))?;
    }
    processes::run_recorded(
        &StateFile::default(),
        DATABASES[0],
        "mariadb-install-db",
        Command::new(programs::find("mariadb-install-db")?)
            .args([
                "--no-defaults",
                "--user=mysql",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ])
            .arg(format!("--datadir={}", primary.display()))
            .args(SMALL_AND_QUICK),
    )
    .context("making the databases' folders")?;
    programs::run(Command::new(programs::find("cp")?).arg("-a").args([&primary, &replica]))
        .context("copying the primary's folder")?;
    Ok(())
}

fn user_id(name: &str) -> Result<Option<u32>> {
    let user = nix::unistd::User::from_name(name).context("looking up a user")?;
    let user = user.with_context(|| format!("no user `{name}`; the package mariadb-server makes it"))?;
    Ok(Some(user.uid.as_raw()))
}

/// Starts both servers on folders that are prepared; does not wait.
pub(super) fn start_all(lab: &Lab) -> Result<()> {
    DATABASES.iter().try_for_each(|db| start(lab, db))
}

/// Starts one server, on the data it has; does not wait.
pub(super) fn start(lab: &Lab, db: &str) -> Result<()> {
    let number = 1 + DATABASES.iter().position(|known| *known == db).context("no such database")?;
    let arguments = server_arguments(number, db, &paths::host_dir(db));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    processes::start(lab, db, PROCESS, &programs::find("mariadbd")?, &arguments)
}

/// Waits until one server answers.
pub(super) fn wait_until_ready(lab: &Lab, db: &str) -> Result<()> {
    poll::until(&format!("MariaDB on {db} answers"), Duration::from_secs(30), || {
        processes::check_alive(lab, db, PROCESS)?;
        query(db, "SELECT 1").map(drop)
    })
}

fn server_arguments(number: usize, db: &str, folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let mut arguments = vec![
        "--no-defaults".into(),
        "--user=mysql".into(),
        format!("--datadir={folder}/data"),
        format!("--socket={folder}/mariadbd.sock"),
        format!("--pid-file={folder}/mariadbd.pid"),
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

/// Waits for both servers, makes the application's database on the primary, starts the replication
/// and waits until the replica has it all.
pub(super) fn set_up(lab: &Lab) -> Result<()> {
    DATABASES.iter().try_for_each(|db| wait_until_ready(lab, db))?;
    let [primary, replica] = DATABASES;
    query(primary, PRIMARY_SETUP).context("setting up the primary")?;
    query(replica, &replica_setup()).context("starting the replication")?;
    let position = query(primary, "SELECT @@gtid_binlog_pos")?;
    poll::until("the replica follows the primary", Duration::from_secs(15), || {
        let reached = query(replica, &format!("SELECT MASTER_GTID_WAIT('{}', 0.5)", position.trim()))?;
        let status = run_client(client(replica).args(["--column-names", "-e", "SHOW SLAVE STATUS\\G"]))?;
        check_replication(&status)?;
        if reached.trim() != "0" {
            bail!("it has not reached {}", position.trim());
        }
        Ok(())
    })
}

/// The accounts and the table of the reference system's application.
const PRIMARY_SETUP: &str = "\
    CREATE USER 'replication'@'%' IDENTIFIED BY 'replication-password';\n\
    GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%';\n\
    CREATE USER 'lbctl'@'%' IDENTIFIED BY 'lbctl-password';\n\
    GRANT BINLOG MONITOR, SLAVE MONITOR ON *.* TO 'lbctl'@'%';\n\
    CREATE USER 'app'@'%' IDENTIFIED BY 'app-password';\n\
    CREATE DATABASE notes CHARACTER SET utf8mb4;\n\
    GRANT ALL ON notes.* TO 'app'@'%';\n\
    CREATE TABLE notes.notes (\n\
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,\n\
      text VARCHAR(1000) NOT NULL,\n\
      written_by VARCHAR(64) NOT NULL,\n\
      written_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP\n\
    );\n";

fn replica_setup() -> String {
    format!(
        "CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT=3306, MASTER_USER='replication', \
         MASTER_PASSWORD='replication-password', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1;\n\
         START SLAVE;\n",
        ipv4_of(DATABASES[0])
    )
}

/// An error unless both threads of the replica run.
fn check_replication(status: &str) -> Result<()> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default()
    };
    if field("Slave_IO_Running") == "Yes" && field("Slave_SQL_Running") == "Yes" {
        return Ok(());
    }
    let errors = [field("Last_IO_Error"), field("Last_SQL_Error")].join(" ");
    bail!("the replica is {}: {}", field("Slave_IO_Running"), errors.trim())
}

/// Runs statements as the administrator, with `DELIMITER` where that is wanted; what they print.
pub(super) fn query(db: &str, sql: &str) -> Result<String> {
    let mut child = client(db)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting mariadb")?;
    child.stdin.take().context("its input")?.write_all(sql.as_bytes()).context("writing to mariadb")?;
    let output = child.wait_with_output().context("waiting for mariadb")?;
    if !output.status.success() {
        bail!("{db}: {}: {sql}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run_client(command: &mut Command) -> Result<String> {
    let output = programs::run(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_replica_is_read_only() {
        let arguments = |number, db| server_arguments(number, db, Path::new("/x"));
        assert!(!arguments(1, "db1").contains(&"--read-only=1".to_owned()));
        assert!(arguments(2, "db2").contains(&"--read-only=1".to_owned()));
        assert!(arguments(2, "db2").contains(&"--server-id=2".to_owned()));
    }

    #[test]
    fn defaults_of_the_machine_are_not_read() {
        // mariadbd insists on this being the first argument.
        assert_eq!(server_arguments(1, "db1", Path::new("/x"))[0], "--no-defaults");
    }

    #[test]
    fn a_replica_that_stopped_tells_why() {
        let status =
            "  Slave_IO_Running: Connecting\n  Slave_SQL_Running: Yes\n  Last_IO_Error: access denied\n";
        let error = check_replication(status).unwrap_err().to_string();
        assert!(error.contains("Connecting") && error.contains("access denied"), "{error}");
        assert!(check_replication("Slave_IO_Running: Yes\nSlave_SQL_Running: Yes\n").is_ok());
    }
}
