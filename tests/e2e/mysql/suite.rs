//! MariaDB's own tests, run at the primary alone and through the service: what they print has to be the same to the byte.

use super::{lab, tls_table};
use crate::client::{PATIENCE, lbctl};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, poll};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Names the folder that Debian's `mariadb-test` is unpacked in.
const VARIABLE: &str = "LBCTL_MARIADB_TEST";
/// Set: all tests of the list, and not only those that are marked.
const ALL_VARIABLE: &str = "LBCTL_MARIADB_TEST_ALL";
const LIST: &str = include_str!("suite.txt");

const DIRECT: u16 = 3307;
const SERVICE: u16 = 3306;
/// Of one test.
const LIMIT_SECONDS: &str = "30";
/// What stays from one test to the next.
const SCHEMAS: [&str; 5] = ["mysql", "sys", "information_schema", "performance_schema", "notes"];
const USERS: [&str; 6] = ["root", "mariadb.sys", "mysql", "replication", "lbctl", "app"];

/// How a test's client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Manner {
    Text,
    /// Prepared statements wherever that goes.
    Prepared,
    /// TLS with the service.
    Tls,
}

impl Manner {
    fn options(self, port: u16) -> &'static [&'static str] {
        match self {
            Self::Prepared => &["--ps-protocol", "--skip-ssl"],
            // The servers of the lab have none.
            Self::Tls if port == SERVICE => &["--ssl"],
            Self::Text | Self::Tls => &["--skip-ssl"],
        }
    }
}

struct Case {
    name: &'static str,
    manner: Manner,
    /// Why it is known to print something else.
    differs: Option<&'static str>,
}

/// Lines: `+` where it is part of an ordinary run, its name, how its client speaks, and behind `|` why it differs.
fn cases() -> Result<Vec<Case>> {
    let all = std::env::var_os(ALL_VARIABLE).is_some();
    let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut cases = Vec::new();
    for line in lines {
        let (line, differs) =
            line.split_once('|').map_or((line, None), |(line, why)| (line, Some(why.trim())));
        let mut words = line.split_whitespace();
        let mark = words.next().context("an empty line")?;
        let name = words.next().context("no name")?;
        if !all && mark != "+" {
            continue;
        }
        for word in words {
            let manner = match word {
                "text" => Manner::Text,
                "prepared" => Manner::Prepared,
                "tls" => Manner::Tls,
                other => anyhow::bail!("{name}: {other} is no manner"),
            };
            cases.push(Case { name, manner, differs });
        }
    }
    Ok(cases)
}

/// The tests, and where they may write.
struct Suite {
    root: PathBuf,
    folder: tempfile::TempDir,
}

impl Suite {
    fn new() -> Result<Self> {
        let root = std::env::var_os(VARIABLE)
            .with_context(|| format!("{VARIABLE} has to name a folder with MariaDB's tests"))?;
        let folder = tempfile::tempdir()?;
        for name in ["tmp", "log", ""] {
            // Servers, which are another user's, write files there.
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
        }
        // Tests connect to `localhost`.
        std::fs::write(folder.path().join("hosts"), "10.80.0.100 localhost\n")?;
        let suite = Self { root: root.into(), folder };
        std::os::unix::fs::symlink(suite.tests().join("std_data"), suite.folder.path().join("std_data"))?;
        Ok(suite)
    }

    fn tests(&self) -> PathBuf {
        self.root.join("usr/share/mysql/mysql-test")
    }

    /// What a test prints, and how it ends.
    fn run(&self, lab: &Lab, case: &Case, port: u16) -> Result<(Option<i32>, String)> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let program = self.root.join("usr/bin/mariadb-test").display().to_string();
        let mut command = lab.host("web1").command("timeout");
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        command.args([LIMIT_SECONDS, "unshare", "--mount", "sh", "-c", script, &at("hosts"), &program]);
        command.args(["--no-defaults", "--silent", "--protocol=tcp", "--host=10.80.0.100", "--user=root"]);
        command.args(["--password=", "--database=test", "--tail-lines=0", "--max-connect-retries=1"]);
        command.args([
            format!("--port={port}"),
            format!("--tmpdir={}", at("tmp")),
            format!("--logdir={}", at("log")),
        ]);
        command.arg(format!("--test-file=main/{}.test", case.name)).args(case.manner.options(port));
        command.current_dir(self.tests());
        command.env("LD_LIBRARY_PATH", self.root.join("usr/lib/x86_64-linux-gnu"));
        command.env("MYSQL_TEST_DIR", self.tests()).env("MYSQLTEST_VARDIR", self.folder.path());
        command.env("MYSQL_TMP_DIR", at("tmp")).env("MASTER_MYPORT", port.to_string());
        command.env("MASTER_MYSOCK", "/nonexistent").env("MYSQLD_DATADIR", "/nonexistent");
        let output = command.stdin(Stdio::null()).output().context("mariadb-test")?;
        let text =
            [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
        Ok((output.status.code(), text))
    }
}

/// Both servers are as if no test had run.
fn begin_anew(lab: &Lab) -> Result<()> {
    let found = lab.database_query(
        "db1",
        &format!(
            "SELECT CONCAT('DROP DATABASE `', schema_name, '`;') FROM information_schema.schemata WHERE schema_name NOT IN ({});\
             SELECT CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host), ';') FROM mysql.user WHERE user NOT IN ({});",
            quoted(&SCHEMAS),
            quoted(&USERS)
        ),
    )?;
    lab.database_query(
        "db1",
        &format!("SET GLOBAL read_only = 0; {found} CREATE DATABASE test CHARACTER SET latin1"),
    )?;
    lab.replicate()
}

/// Names as SQL lists them.
fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// Servers as these tests expect them, and a service that answers as one of them would whoever wrote.
fn prepared_lab() -> Result<Lab> {
    let lab = lab()?;
    prepare(&lab)?;
    begin_anew(&lab)?;
    Ok(lab)
}

fn prepare(lab: &Lab) -> Result<()> {
    let settings = "SET GLOBAL log_bin_trust_function_creators = 1, default_storage_engine = MyISAM, \
                    character_set_server = latin1, collation_server = latin1_swedish_ci;";
    lab.database_query(
        "db1",
        &format!("{settings} CREATE USER root@'%'; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"),
    )?;
    // What is created without an engine is created by the replica's own settings.
    lab.database_query("db2", &format!("{settings} STOP SLAVE; START SLAVE;"))?;
    let text = lab.agent_config("lb1")?;
    let more = "\n[service.db.mysql]\nconsistency = \"global\"\nmax_wait = \"1s\"\n\n[[service.db.mysql.user]]\nname = \"root\"\npassword = \"\"\n";
    lab.write_agent_config("lb1", &[&text, more, &tls_table(&text)?].concat())?;
    lbctl(lab, &["apply"])?;
    for (port, tls) in [(DIRECT, "--skip-ssl"), (SERVICE, "--ssl")] {
        poll::until("root is let in", PATIENCE, || {
            let mut client = lab.host("web1").command("mariadb");
            client.args(["--no-defaults", "--host=10.80.0.100", "--user=root", "-e", "SELECT 1", tls]);
            let output = client.arg(format!("--port={port}")).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        })?;
    }
    Ok(())
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

/// The first line that is another one.
fn difference(direct: &str, service: &str) -> String {
    let (direct, service): (Vec<&str>, Vec<&str>) = (direct.lines().collect(), service.lines().collect());
    let at = direct.iter().zip(&service).take_while(|(one, other)| one == other).count();
    let of = |lines: &[&str]| lines.get(at).map_or("its end".to_owned(), |line| format!("{line:?}"));
    format!("line {}: {} at the primary, {} through the service", at + 1, of(&direct), of(&service))
}

#[test]
fn mariadbs_own_tests_print_the_same_through_the_service() -> Result<()> {
    let mut lab = prepared_lab()?;
    let suite = Suite::new()?;
    let mut same = BTreeMap::<Manner, u32>::new();
    let (mut known, mut wrong) = (Vec::new(), Vec::new());
    for case in cases()? {
        let Case { name, manner, differs } = case;
        let direct = suite.run(&lab, &case, DIRECT)?;
        let between = begin_anew(&lab);
        let service = suite.run(&lab, &case, SERVICE)?;
        if let Err(error) = between.and_then(|()| begin_anew(&lab)) {
            // Servers do that to each other without a proxy, too.
            wrong.push(format!("{name} {manner:?}: replication stops: {error:#}"));
            lab.down()?;
            lab = prepared_lab()?;
            continue;
        }
        if direct.0 != Some(0) {
            wrong.push(format!(
                "{name} {manner:?}: does not run at the primary itself: {}",
                last_line(&direct.1)
            ));
            continue;
        }
        match (direct == service, differs) {
            (true, None) => *same.entry(manner).or_default() += 1,
            (false, Some(why)) => known.push(format!("{name} ({why})")),
            (true, Some(why)) => wrong.push(format!("{name} {manner:?}: the same, but for: {why}")),
            (false, None) => wrong.push(format!("{name} {manner:?}: {}", difference(&direct.1, &service.1))),
        }
    }
    println!("the same: {same:?}; known to differ: {}", known.join(", "));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let at_replica = lbctl(&lab, &["mysql", "routes"])?;
    ensure!(at_replica.contains("replica"), "nothing ran at the replica: {at_replica}");
    ensure!(!same.is_empty() && Path::new(&suite.tests()).exists(), "no test ran");
    lab.down()
}
