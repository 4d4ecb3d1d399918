//! The databases: a primary on db1 and its replica on db2, joined by GTID replication; MariaDB, or MySQL.
//!
//! What differs between these is in a module for each.

mod mariadb;
mod mysql;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::addresses::DATABASES;
use super::state::{Setup, StateFile};
use super::{Lab, paths, poll, processes, programs};

/// Which server it is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    MariaDb,
    /// The root folder it is in.
    MySql(PathBuf),
}

impl Kind {
    pub(super) fn of(setup: &Setup) -> Kind {
        setup.mysql.clone().map_or(Kind::MariaDb, Kind::MySql)
    }

    /// Its name among a host's processes.
    pub(super) fn process(&self) -> &'static str {
        match self {
            Kind::MariaDb => "mariadbd",
            Kind::MySql(_) => "mysqld",
        }
    }

    /// What people call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::MariaDb => "MariaDB",
            Kind::MySql(_) => "MySQL",
        }
    }
}

/// Data folders being made in the background while the network is set up.
#[derive(Debug)]
pub(super) struct Preparation(Option<JoinHandle<Result<()>>>);

impl Preparation {
    /// Begins.
    pub(super) fn start(kind: Kind) -> Result<Preparation> {
        let worker =
            std::thread::Builder::new().name("databases".into()).spawn(move || make_data_folders(&kind));
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
    paths::host_dir(db).join("database.sock")
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
fn make_data_folders(kind: &Kind) -> Result<()> {
    let [primary, replica] = DATABASES.map(data_dir);
    for db in DATABASES {
        let folder = paths::host_dir(db);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        std::os::unix::fs::chown(&folder, user_id("mysql")?, None)
            .with_context(|| format!("giving {} to mysql", folder.display()))?;
    }
    let mut install = match kind {
        Kind::MariaDb => mariadb::install(&primary)?,
        Kind::MySql(root) => mysql::install(root, &primary),
    };
    processes::run_recorded(&StateFile::default(), DATABASES[0], "install", &mut install)
        .context("making the databases' folders")?;
    programs::run(Command::new(programs::find("cp")?).arg("-a").args([&primary, &replica]))
        .context("copying the primary's folder")?;
    // MySQL's own name among servers: each makes its own.
    for data in [&primary, &replica] {
        let _ = fs::remove_file(data.join("auto.cnf"));
    }
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
    let (kind, folder) = (Kind::of(lab.setup()), paths::host_dir(db));
    let (program, arguments) = match &kind {
        Kind::MariaDb => (mariadb::program()?, mariadb::arguments(number, db, &folder)),
        Kind::MySql(root) => (mysql::program(root), mysql::arguments(root, number, db, &folder)),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    processes::start(lab, db, kind.process(), &program, &arguments)
}

/// Waits until one server answers.
pub(super) fn wait_until_ready(lab: &Lab, db: &str) -> Result<()> {
    let kind = Kind::of(lab.setup());
    poll::until(&format!("{} on {db} answers", kind.name()), Duration::from_secs(30), || {
        processes::check_alive(lab, db, kind.process())?;
        query(db, "SELECT 1").map(drop)
    })
}

/// Waits for both servers, makes the application's database on the primary, starts the replication
/// and waits until the replica has it all.
pub(super) fn set_up(lab: &Lab) -> Result<()> {
    DATABASES.iter().try_for_each(|db| wait_until_ready(lab, db))?;
    let [primary, replica] = DATABASES;
    let (monitors, replicate, asked, (status, fields)) = match Kind::of(lab.setup()) {
        Kind::MariaDb => (mariadb::MONITORS, mariadb::replicate(), mariadb::POSITION, mariadb::REPLICATION),
        Kind::MySql(_) => (mysql::MONITORS, mysql::replicate(), mysql::POSITION, mysql::REPLICATION),
    };
    query(primary, &[accounts(monitors).as_str(), TABLES].concat()).context("setting up the primary")?;
    query(replica, &replicate).context("starting the replication")?;
    let position = query(primary, asked)?;
    let reach = reach(lab, position.trim());
    poll::until("the replica follows the primary", Duration::from_secs(15), || {
        let reached = query(replica, &reach)?;
        let status = run_client(client(replica).args(["--column-names", "-e", status]))?;
        check_replication(&status, fields)?;
        if reached.trim() != "0" {
            bail!("it has not reached {}", position.trim());
        }
        Ok(())
    })
}

fn reach(lab: &Lab, position: &str) -> String {
    match Kind::of(lab.setup()) {
        Kind::MariaDb => mariadb::reach(position),
        Kind::MySql(_) => mysql::reach(position),
    }
}

/// Waits until the replica has what the primary has now.
pub(super) fn replicate(lab: &Lab) -> Result<()> {
    let [primary, replica] = DATABASES;
    let asked = match Kind::of(lab.setup()) {
        Kind::MariaDb => mariadb::POSITION,
        Kind::MySql(_) => mysql::POSITION,
    };
    let reach = reach(lab, query(primary, asked)?.trim());
    poll::until("the replica has what the primary has", Duration::from_secs(15), || {
        if query(replica, &reach)?.trim() != "0" {
            bail!("not yet");
        }
        Ok(())
    })
}

/// Who replicates, who looks, and the application.
fn accounts(monitors: &str) -> String {
    format!(
        "CREATE USER 'replication'@'%' IDENTIFIED BY 'replication-password';\n\
         GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%';\n\
         CREATE USER 'lbctl'@'%' IDENTIFIED BY 'lbctl-password';\n\
         GRANT {monitors} ON *.* TO 'lbctl'@'%';\n\
         CREATE USER 'app'@'%' IDENTIFIED BY 'app-password';\n"
    )
}

/// The table of the reference system's application.
const TABLES: &str = "\
    CREATE DATABASE notes CHARACTER SET utf8mb4;\n\
    GRANT ALL ON notes.* TO 'app'@'%';\n\
    CREATE TABLE notes.notes (\n\
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,\n\
      text VARCHAR(1000) NOT NULL,\n\
      written_by VARCHAR(64) NOT NULL,\n\
      written_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP\n\
    );\n";

/// An error unless both threads of the replica run.
fn check_replication(status: &str, [io, sql, io_error, sql_error]: [&str; 4]) -> Result<()> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default()
    };
    if field(io) == "Yes" && field(sql) == "Yes" {
        return Ok(());
    }
    let errors = [field(io_error), field(sql_error)].join(" ");
    bail!("the replica is {}: {}", field(io), errors.trim())
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
    fn a_replica_that_stopped_tells_why() {
        let fields = mariadb::REPLICATION.1;
        let status =
            "  Slave_IO_Running: Connecting\n  Slave_SQL_Running: Yes\n  Last_IO_Error: access denied\n";
        let error = check_replication(status, fields).unwrap_err().to_string();
        assert!(error.contains("Connecting") && error.contains("access denied"), "{error}");
        assert!(check_replication("Slave_IO_Running: Yes\nSlave_SQL_Running: Yes\n", fields).is_ok());
    }
}
