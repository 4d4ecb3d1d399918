//! Sessions of databases: each statement is looked for in the servers' own logs, by a number in a comment.

use crate::client::{PATIENCE, lbctl, lbctl_json};
use anyhow::{Context as _, Result, ensure};
use client::{Client, mariadb};
use lb_user::api::{MysqlDigest, MysqlRoute, MysqlView};
use lbctl_tests::lab::{Lab, Options, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

mod chaos;
pub(crate) mod client;
mod clients;
mod drivers;
mod failures;
mod multiplexing;
mod suite;

const STATEMENTS: &str = include_str!("mysql/statements.txt");

/// A server that the lab can run.
struct Server {
    /// As the table of statements has it.
    name: &'static str,
    /// The root folder it is in; `None`: this machine's.
    root: Option<PathBuf>,
    /// What only it has.
    schema: &'static str,
}

/// Names the root folder of a system with MySQL.
const MYSQL_VARIABLE: &str = "LBCTL_MYSQL_ROOT";

fn mariadb_server() -> Server {
    let schema = "GRANT PROCESS, BINLOG MONITOR, RELOAD, BINLOG ADMIN, SUPER ON *.* TO 'app'@'%'; USE notes; CREATE SEQUENCE s;";
    Server { name: "mariadb", root: None, schema }
}

fn mysql_server() -> Result<Server> {
    let root = std::env::var_os(MYSQL_VARIABLE)
        .with_context(|| format!("{MYSQL_VARIABLE} has to name the folder of a system with MySQL"))?;
    let schema =
        "GRANT PROCESS, RELOAD, REPLICATION CLIENT, SYSTEM_VARIABLES_ADMIN, SUPER ON *.* TO 'app'@'%';";
    Ok(Server { name: "mysql", root: Some(root.into()), schema })
}

/// What the statements are about, on the primary.
const SCHEMA: &str = "
CREATE DATABASE other; CREATE TABLE other.o (id INT); GRANT ALL ON other.* TO 'app'@'%';
USE notes;
CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(50)) ENGINE=InnoDB;
INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');
CREATE TABLE u (id INT PRIMARY KEY);
CREATE TABLE auto (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50));
CREATE VIEW v AS SELECT id FROM t;
DELIMITER ;;
CREATE FUNCTION writes_a_row(n INT) RETURNS INT MODIFIES SQL DATA DETERMINISTIC BEGIN INSERT INTO t (id, name) VALUES (n, 'f'); RETURN n; END;;
CREATE FUNCTION reads_only(n INT) RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM t WHERE id = n);;
CREATE PROCEDURE sets_a_variable() BEGIN SET @from_procedure = 5; END;;
CREATE TABLE triggering (id INT);;
CREATE TRIGGER assigns BEFORE INSERT ON triggering FOR EACH ROW SELECT 42 INTO @by_trigger;;
CREATE VIEW writing AS SELECT writes_a_row(400) AS n;;
CREATE PROCEDURE inserts(n INT) BEGIN INSERT INTO t (id, name) VALUES (n, 'p'); END;;
DELIMITER ;
";

fn lab() -> Result<Lab> {
    lab_of(&mariadb_server())
}

fn lab_of(server: &Server) -> Result<Lab> {
    let lab = Lab::up(Options { mysql: server.root.clone(), ..Options::default() })?;
    poll::until("both roles are known", PATIENCE, || {
        let roles = roles(&lab)?;
        ensure!(roles == [("db1", "primary"), ("db2", "replica")].map(owned), "{roles:?}");
        Ok(())
    })?;
    Ok(lab)
}

/// A table by which the service `db` has the lab's certificate.
fn tls_table(text: &str) -> Result<String> {
    let line = |key: &str| {
        let found = text.lines().find(|line| line.starts_with(&format!("{key} = \"")));
        found.with_context(|| format!("no {key} in {text}"))
    };
    Ok(format!("\n[[service.db.tls.certificate]]\n{}\n{}\n", line("file")?, line("key")?))
}

fn owned((name, role): (&str, &str)) -> (String, String) {
    (name.to_owned(), role.to_owned())
}

fn view(lab: &Lab) -> Result<MysqlView> {
    let mut views: Vec<MysqlView> = lbctl_json(lab, &["mysql", "nodes"])?;
    views.pop().context("no service of databases")
}

fn roles(lab: &Lab) -> Result<Vec<(String, String)>> {
    Ok(view(lab)?.nodes.into_iter().map(|node| (node.backend.to_string(), node.role)).collect())
}

/// The lab with what the statements are about, on both servers.
fn lab_with_schema(server: &Server) -> Result<Lab> {
    let lab = lab_of(server)?;
    lab.database_query("db1", server.schema)?;
    lab.database_query("db1", SCHEMA)?;
    lab.replicate()?;
    Ok(lab)
}

/// Runs statements in one session of `app` through a VIP, each ended by `;;`. What it printed.
fn run(lab: &Lab, port: u16, more: &[&str], script: &str) -> Result<String> {
    let mut command = mariadb(lab, port);
    command.args(["--comments", "--force", "--delimiter=;;"]).args(more);
    let mut child = command.stderr(Stdio::piped()).spawn().context("mariadb")?;
    child.stdin.take().context("its input")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

struct Case {
    number: usize,
    place: String,
    why: String,
    sql: String,
}

/// The cases of each session, for that server.
fn sessions(server: &Server) -> Result<Vec<Vec<Case>>> {
    let (mut all, mut number) = (Vec::new(), 0);
    for line in STATEMENTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with("---") {
            all.push(Vec::new());
            continue;
        }
        let (place, rest) = line.split_once(' ').with_context(|| format!("no place: {line}"))?;
        let (place, only) = place.split_once(':').unwrap_or((place, server.name));
        if only != server.name {
            continue;
        }
        let (why, sql) = rest.split_once(' ').with_context(|| format!("no reason: {line}"))?;
        number += 1;
        let case =
            Case { number, place: place.to_owned(), why: why.to_owned(), sql: sql.trim_start().to_owned() };
        all.last_mut().context("no session")?.push(case);
    }
    Ok(all)
}

/// Which server's log has which numbers, of connections of `app`: a replica logs what it repeats, too.
fn logged(lab: &Lab, db: &str) -> Result<BTreeSet<usize>> {
    let text = std::fs::read_to_string(general_log(lab, db)?)?;
    // `… \t  THREAD COMMAND\tARGUMENT`
    let thread_of = |line: &str| -> Option<u64> {
        // A line that is the first of its second begins with the time.
        let is_command = |word: &str| word.starts_with(|letter: char| letter.is_ascii_uppercase());
        line.split('\t').find_map(|field| {
            let (number, command) = field.trim_start().split_once(' ')?;
            number.parse().ok().filter(|_| is_command(command))
        })
    };
    let logins = text.lines().filter(|line| line.contains(" Connect\tapp@"));
    let threads: BTreeSet<u64> = logins.filter_map(thread_of).collect();
    let tagged = text.lines().filter_map(|line| {
        let number = line.split_once("/* case ")?.1.split_once(' ')?.0.parse().ok()?;
        threads.contains(&thread_of(line)?).then_some(number)
    });
    Ok(tagged.collect())
}

fn general_log(lab: &Lab, db: &str) -> Result<PathBuf> {
    let file = lab.database_query(db, "SELECT CONCAT(@@datadir, @@general_log_file)")?;
    Ok(PathBuf::from(file.trim()))
}

#[test]
fn each_statement_runs_where_it_belongs_by_the_servers_own_logs() -> Result<()> {
    check_places(&mariadb_server())
}

#[test]
fn each_statement_runs_where_it_belongs_with_mysql() -> Result<()> {
    check_places(&mysql_server()?)
}

fn check_places(server: &Server) -> Result<()> {
    let lab = lab_with_schema(server)?;
    for db in ["db1", "db2"] {
        lab.database_query(db, "SET GLOBAL general_log_file = 'cases.log', GLOBAL general_log = 1")?;
    }
    let sessions = sessions(server)?;
    ensure!(sessions.iter().map(Vec::len).sum::<usize>() >= 150, "the table has shrunk");
    let before = routes(&lab)?;
    for cases in &sessions {
        let tagged = cases.iter().map(|case| format!("/* case {} */ {}\n;;\n", case.number, case.sql));
        run(&lab, 3306, &[], &tagged.collect::<String>())?;
    }
    let (primary, replica) = (logged(&lab, "db1")?, logged(&lab, "db2")?);
    let mut wrong = Vec::new();
    let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
    for case in sessions.iter().flatten() {
        let found = (primary.contains(&case.number), replica.contains(&case.number));
        if found != (case.place != "R", case.place != "P") {
            let found = format!("primary {}, replica {}", found.0, found.1);
            wrong.push(format!("case {}: {} ran elsewhere: {found}", case.number, case.sql));
        }
        let target = if case.place == "R" { "replica" } else { "primary" };
        *expected.entry((target.to_owned(), case.why.clone())).or_default() += 1;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let counted: BTreeMap<_, _> = routes(&lab)?
        .into_iter()
        .map(|(route, count)| {
            let earlier = before.get(&route).copied().unwrap_or_default();
            (route, count - earlier)
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    let differs = |(route, count): (&(String, String), &u64)| {
        let counted = counted.get(route).copied().unwrap_or_default();
        (counted != *count).then(|| format!("{route:?}: expected {count}, counted {counted}"))
    };
    let different: Vec<String> = expected.iter().filter_map(differs).collect();
    ensure!(different.is_empty(), "{}\n{counted:?}", different.join("\n"));
    lab.down()
}

/// How often what was sent where; what clients and the application of the lab send by themselves is `command` or its own.
fn routes(lab: &Lab) -> Result<BTreeMap<(String, String), u64>> {
    let routes = view(lab)?.routes;
    Ok(routes.into_iter().map(|route| ((route.target, route.why), route.count)).collect())
}

/// Until a client reaches it without any proxy.
fn wait_for_the_primary_alone(lab: &Lab) -> Result<()> {
    poll::until("the primary alone is reached", PATIENCE, || {
        let answer = run(lab, 3307, &[], "SELECT 1;;")?;
        ensure!(answer.trim() == "1", "{answer}");
        Ok(())
    })
}

#[test]
fn a_session_reads_what_it_wrote_and_answers_are_those_of_one_server() -> Result<()> {
    check_answers(&mariadb_server())
}

#[test]
fn answers_are_those_of_one_server_with_mysql() -> Result<()> {
    check_answers(&mysql_server()?)
}

fn check_answers(server: &Server) -> Result<()> {
    let lab = lab_with_schema(server)?;
    wait_for_the_primary_alone(&lab)?;
    // The same sessions at the primary alone and through the proxy: what is printed is the same, but for what is said of servers.
    for cases in sessions(server)? {
        let says_who = |case: &&Case| {
            let words = [
                "server_",
                "CONNECTION_ID",
                "USER()",
                "NOW()",
                "MASTER STATUS",
                "PROCESSLIST",
                "STATUS",
                "RAND",
                // Costs are estimated by each server for itself.
                "EXPLAIN",
            ];
            !words.iter().any(|word| case.sql.contains(word))
        };
        let script: String =
            cases.iter().filter(says_who).map(|case| format!("{}\n;;\n", case.sql)).collect();
        let reset = "DELETE FROM t WHERE id > 3; UPDATE t SET name = CHAR(96 + id); TRUNCATE TABLE auto; TRUNCATE TABLE triggering;";
        let mut printed = Vec::new();
        for port in [3307, 3306] {
            lab.database_query("db1", &format!("USE notes; {reset}"))?;
            if server.name == "mariadb" {
                lab.database_query("db1", "USE notes; DROP SEQUENCE s; CREATE SEQUENCE s")?;
            }
            let said = run(&lab, port, &["--show-warnings"], &script)?;
            // A question that is answered for the primary is not asked there, and not warned of.
            let lines = said.lines().filter(|line| !line.contains("FOUND_ROWS() is deprecated"));
            printed.push(lines.collect::<Vec<_>>().join("\n"));
        }
        ensure!(
            printed[0] == printed[1],
            "{script}\n--- direct\n{}\n--- through the proxy\n{}",
            printed[0],
            printed[1]
        );
    }
    // Write, then read, again and again.
    let pairs: String = (0..300)
        .map(|n| format!("INSERT INTO u VALUES ({n});; SELECT IF(COUNT(*) = 1, 'fresh', 'stale') FROM u WHERE id = {n};;\n"))
        .collect();
    let answers = run(&lab, 3306, &[], &pairs)?;
    ensure!(answers.matches("fresh").count() == 300 && !answers.contains("stale"), "{answers}");
    let routed = routes(&lab)?;
    let reads = routed.get(&("replica".to_owned(), "read".to_owned())).copied().unwrap_or_default();
    ensure!(reads > 200, "replicas were hardly used: {routed:?}");
    lab.down()
}

#[test]
fn it_is_told_where_a_statement_would_run_and_who_is_there() -> Result<()> {
    let lab = lab()?;
    let route = |sql: &str| lbctl_json::<MysqlRoute>(&lab, &["mysql", "route", sql]);
    let read = route("SELECT * FROM t")?;
    ensure!(read.target == "replica" && read.why == "read", "{read:?}");
    let write = route("SELECT * FROM t FOR UPDATE")?;
    ensure!(write.target == "primary" && write.words.contains("locks the rows"), "{write:?}");
    let nodes = lbctl(&lab, &["mysql", "nodes"])?;
    ensure!(nodes.contains("primary") && nodes.contains("MariaDB"), "{nodes}");

    // What was run is in the books without what it was about, and in the log where it took long.
    let config = lab.agent_config("lb1")?;
    lab.write_agent_config(
        "lb1",
        &config.replace(
            "[service.db.mysql.monitor]",
            "[service.db.mysql]\nslow_log = \"200ms\"\n\n[service.db.mysql.monitor]",
        ),
    )?;
    lbctl(&lab, &["apply"])?;
    let asked = "SELECT 'a secret', SLEEP(0.5);; SELECT 'another secret', SLEEP(0.01);; SELECT 'a secret' FROM nowhere;;";
    run(&lab, 3306, &[], asked)?;
    let digests: Vec<MysqlDigest> = lbctl_json(&lab, &["mysql", "digests"])?;
    let slept = digests.iter().find(|one| one.text.contains("sleep")).context("it is not in the books")?;
    ensure!((slept.count, slept.errors, slept.rows) == (2, 0, 2), "{slept:?}");
    ensure!((500_000..2_000_000).contains(&slept.time_max_us), "{slept:?}");
    ensure!(slept.routes.iter().all(|route| route.target == "replica" && route.why == "read"), "{slept:?}");
    let failed = digests.iter().find(|one| one.text.contains("nowhere")).context("nor is what failed")?;
    ensure!((failed.count, failed.errors) == (1, 1), "{failed:?}");
    let log = lab.agent_log("lb1")?;
    let slow: Vec<&str> = log.lines().filter(|line| line.contains("slow statement")).collect();
    ensure!(slow.len() == 1 && slow[0].contains("sleep"), "{slow:?}");
    ensure!(
        !log.contains("secret") && !lbctl(&lab, &["mysql", "digests"])?.contains("secret"),
        "a literal is shown"
    );

    // A session is seen with what holds it, and ended.
    let mut child = mariadb(&lab, 3306).stderr(Stdio::piped()).spawn().context("mariadb")?;
    let mut input = child.stdin.take().context("its input")?;
    writeln!(input, "BEGIN;")?;
    input.flush()?;
    let number = poll::until("the session is held by its transaction", PATIENCE, || {
        let sessions = view(&lab)?.sessions;
        let held = sessions.iter().find(|one| one.held == ["transaction"]);
        held.map(|one| one.number).with_context(|| format!("{sessions:?}"))
    })?;
    lbctl(&lab, &["mysql", "kill", &number.to_string()])?;
    writeln!(input, "SELECT 1;")?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(!output.status.success(), "it goes on");
    poll::until("it is gone", PATIENCE, || {
        ensure!(view(&lab)?.sessions.iter().all(|one| one.number != number), "it is still there");
        Ok(())
    })?;
    // KILL by that number ends what runs, wherever that is.
    let mut sleeper = Client::open(&lab, 3306)?;
    ensure!(sleeper.ask("SELECT 'here'")? == "here");
    let number = view(&lab)?.sessions.iter().map(|one| one.number).max().context("no session")?;
    let begun = std::time::Instant::now();
    let killer = std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            poll::until("the statement runs at a server", PATIENCE, || {
                let list =
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT COUNT(*) FROM seq_1%'";
                let mut running = 0;
                for db in ["db1", "db2"] {
                    running += lab.database_query(db, list)?.trim().parse::<u32>()?;
                }
                ensure!(running > 0, "not yet");
                Ok(())
            })?;
            run(&lab, 3306, &[], &format!("KILL QUERY {number};;"))
        });
        let slept = sleeper
            .error_of("SELECT COUNT(*) FROM seq_1_to_1000000 AS a, seq_1_to_1000000 AS b", 2 * PATIENCE)?;
        let said = killing.join().map_err(|_| anyhow::anyhow!("the thread that kills panicked"))??;
        ensure!(said.is_empty(), "{said}");
        Ok::<String, anyhow::Error>(slept)
    })?;
    ensure!(killer.contains("ERROR 1317"), "{killer}");
    ensure!(begun.elapsed().as_secs() < 20, "it ran on");
    ensure!(sleeper.ask("SELECT 'again'")? == "again", "its session has ended");
    sleeper.close()?;
    ensure!(run(&lab, 3306, &[], "KILL 1073741823999;;")?.contains("ERROR"), "nobody has that number");
    lab.down()
}
