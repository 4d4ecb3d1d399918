//! Clients of other kinds: prepared statements of the binary protocol, TLS, refused logins, and a file of the client's.

use super::{lab, routes, run, tls_table, view, wait_for_the_primary_alone};
use crate::client::{PATIENCE, client_shell, lbctl};
use anyhow::{Result, ensure};
use lbctl_tests::lab::{Lab, poll};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Value};

pub(super) fn options() -> Opts {
    let builder = OptsBuilder::default().ip_or_hostname("10.80.0.100").tcp_port(3306).prefer_socket(false);
    builder.user(Some("app")).pass(Some("app-password")).db_name(Some("notes")).into()
}

/// Does something with one connection from web1.
fn with_connection<T: Send>(lab: &Lab, work: impl AsyncFnOnce(&mut Conn) -> Result<T> + Send) -> Result<T> {
    lab.host("web1").inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connection = Conn::new(options()).await?;
            let found = work(&mut connection).await?;
            connection.disconnect().await?;
            Ok(found)
        })
    })?
}

fn replica_reads(lab: &Lab) -> Result<u64> {
    Ok(routes(lab)?.get(&("replica".to_owned(), "read".to_owned())).copied().unwrap_or_default())
}

#[test]
fn prepared_statements_run_at_replicas_with_the_types_that_were_sent_once() -> Result<()> {
    let lab = lab()?;
    lab.database_query("db1", "CREATE TABLE notes.b (id INT PRIMARY KEY, name VARCHAR(50), data LONGBLOB)")?;
    for db in ["db1", "db2"] {
        lab.database_query(db, "SET GLOBAL max_allowed_packet = 64 * 1024 * 1024")?;
    }
    let before = replica_reads(&lab)?;
    with_connection(&lab, async |connection| {
        let insert = connection.prep("INSERT INTO b (id, name, data) VALUES (?, ?, ?)").await?;
        let select =
            connection.prep("SELECT name, LENGTH(data), CAST(? AS CHAR) FROM b WHERE id = ?").await?;
        for id in 0..50_i32 {
            let data = vec![b'x'; 1000 * usize::try_from(id)?];
            connection.exec_drop(&insert, (id, format!("name {id}"), data)).await?;
            // The types of the second parameter differ from time to time.
            let text = Value::from(format!("{id}"));
            let first = if id % 2 == 0 { Value::from(i64::from(id)) } else { text };
            let row: Option<(String, i64, String)> = connection.exec_first(&select, (first, id)).await?;
            let expected = (format!("name {id}"), 1000 * i64::from(id), id.to_string());
            ensure!(row.as_ref() == Some(&expected), "{row:?}, expected {expected:?}");
        }
        // In a transaction the same statement runs at the primary, and sees what is not committed.
        connection.query_drop("BEGIN").await?;
        connection.exec_drop(&insert, (1000, "uncommitted", b"abc".as_slice())).await?;
        let row: Option<(String, i64, String)> = connection.exec_first(&select, (1, 1000)).await?;
        ensure!(row == Some(("uncommitted".to_owned(), 3, "1".to_owned())), "{row:?}");
        connection.query_drop("ROLLBACK").await?;
        let gone: Option<(String, i64, String)> = connection.exec_first(&select, (1, 1000)).await?;
        ensure!(gone.is_none(), "{gone:?}");
        connection.close(select).await?;
        // A statement that is an error is one, and the session goes on.
        ensure!(connection.prep("SELECT nothing FROM nowhere").await.is_err());
        // The session begins anew, on the same connection.
        connection.query_drop("SET @kept = 1").await?;
        ensure!(connection.reset().await?, "it is not reset");
        let kept: Option<Option<i64>> = connection.query_first("SELECT @kept").await?;
        ensure!(kept == Some(None), "{kept:?}");
        // More than one packet of the protocol has room for.
        let long = "y".repeat(17 << 20);
        let length: Option<u64> = connection.query_first(format!("SELECT LENGTH('{long}')")).await?;
        ensure!(length == Some(17 << 20), "{length:?}");
        let back: Option<String> = connection.query_first("SELECT REPEAT('z', 17 * 1024 * 1024)").await?;
        ensure!(back.map(|text| text.len()) == Some(17 << 20));
        Ok(())
    })?;
    let reads = replica_reads(&lab)? - before;
    ensure!(reads >= 50, "{reads} reads at a replica");
    lab.down()
}

#[test]
fn clients_log_in_with_tls_and_without_and_are_refused_as_servers_do() -> Result<()> {
    let lab = lab()?;
    let certificate = lab.agent_config("lb1")?;
    let table = tls_table(&certificate)?;
    lab.write_agent_config("lb1", &format!("{certificate}{table}"))?;
    lbctl(&lab, &["apply"])?;
    let mariadb = |more: &str| {
        let command = "mariadb --no-defaults --host=10.80.0.100 --user=app --database=notes --batch --skip-column-names";
        client_shell(&lab, &format!("{command} {more} 2>&1 || true"))
    };
    let ca = lab.ca_certificate();
    let tls = format!("--password=app-password --ssl-ca={} --ssl-verify-server-cert", ca.display());
    poll::until("TLS is offered", PATIENCE, || {
        let said = mariadb(&format!("{tls} -e 'SELECT 1; \\s'"))?;
        ensure!(said.starts_with('1') && said.contains("SSL:\t\t\tCipher in use is TLS"), "{said}");
        Ok(())
    })?;
    ensure!(mariadb("--password=app-password --skip-ssl -e 'SELECT 2'")?.trim() == "2");
    for (wrong, expected) in [
        (
            "--password=wrong --skip-ssl -e 'SELECT 1'",
            "ERROR 1045 (28000): Access denied for user 'app'@'10.90.0.10' (using password: YES)",
        ),
        (
            "--user=nobody --password=x --skip-ssl -e 'SELECT 1'",
            "Access denied for user 'nobody'@'10.90.0.10'",
        ),
        ("--password=app-password --skip-ssl --database=nowhere -e 'SELECT 1'", "ERROR 1044 (42000)"),
    ] {
        let said = mariadb(wrong)?;
        ensure!(said.contains(expected), "{wrong}: {said}");
    }
    ensure!(view(&lab)?.sessions.iter().all(|one| one.user == "app"), "a refused login has a session");

    // A file of the client's goes to the primary.
    lab.database_query("db1", "CREATE TABLE notes.f (id INT); SET GLOBAL local_infile = 1")?;
    let script = "printf '1\\n2\\n3\\n' >/tmp/lbctl-e2e-infile && mariadb --no-defaults --host=10.80.0.100 --user=app \
                  --password=app-password --skip-ssl --local-infile=1 --skip-column-names notes -e \
                  \"LOAD DATA LOCAL INFILE '/tmp/lbctl-e2e-infile' INTO TABLE f; SELECT SUM(id) FROM f\"; \
                  code=$?; rm -f /tmp/lbctl-e2e-infile; exit $code";
    ensure!(client_shell(&lab, script)?.trim() == "6", "the file did not arrive");
    ensure!(run(&lab, 3306, &[], "SELECT COUNT(*) FROM f;;")?.trim() == "3");
    lab.down()
}

#[test]
fn a_prepared_statement_stays_what_it_was_when_the_session_changes() -> Result<()> {
    let lab = lab()?;
    lab.database_query(
        "db1",
        "CREATE DATABASE other; GRANT ALL ON other.* TO 'app'@'%'; CREATE TABLE other.w (name VARCHAR(9)); \
         INSERT INTO other.w VALUES ('other'); CREATE TABLE notes.w (name VARCHAR(9)); INSERT INTO notes.w VALUES ('notes')",
    )?;
    with_connection(&lab, async |connection| {
        let unread = connection.prep("SELECT name FROM w").await?;
        let quotes = connection.prep("SELECT \"name\" FROM w").await?;
        connection.query_drop("USE other").await?;
        connection.query_drop("SET sql_mode = 'ANSI_QUOTES'").await?;
        let now: Option<String> = connection.query_first("SELECT name FROM w").await?;
        ensure!(now.as_deref() == Some("other"), "{now:?}");
        let then: Option<String> = connection.exec_first(&unread, ()).await?;
        ensure!(then.as_deref() == Some("notes"), "in the schema of now, not in that of then: {then:?}");
        let string: Option<String> = connection.exec_first(&quotes, ()).await?;
        ensure!(string.as_deref() == Some("name"), "a string of then is a name now: {string:?}");
        // What was found at a replica is asked for there, by a prepared statement, too.
        let found = connection.prep("SELECT FOUND_ROWS()").await?;
        let rows: Vec<u32> = connection.query("SELECT 1 UNION SELECT 2 UNION SELECT 3").await?;
        connection.ping().await?;
        let count: Option<u32> = connection.exec_first(&found, ()).await?;
        ensure!(count == Some(3) && rows.len() == 3, "{count:?}");
        let store = connection.prep("SELECT FOUND_ROWS() INTO @n").await?;
        connection.query_drop("SELECT 1 UNION SELECT 2").await?;
        let refused = connection.exec_drop(&store, ()).await;
        ensure!(refused.is_err_and(|error| error.to_string().contains("at a replica")), "it is not refused");
        Ok(())
    })?;
    lab.down()
}

#[test]
fn what_was_written_is_read_after_a_reset_and_by_another_user_of_the_same_connection() -> Result<()> {
    let lab = lab()?;
    lab.database_query("db1", "CREATE TABLE notes.n (id INT PRIMARY KEY)")?;
    lab.replicate()?;
    with_connection(&lab, async |connection| {
        let _: Option<u32> = connection.query_first("SELECT COUNT(*) FROM n").await?;
        // From here on the replica does not follow; the agent does not know of it yet.
        lab.database_query("db2", "STOP SLAVE SQL_THREAD")?;
        for (id, is_user) in [(1_u32, false), (2, true)] {
            connection.exec_drop("INSERT INTO n VALUES (?)", (id,)).await?;
            if is_user {
                let options = mysql_async::ChangeUserOpts::default()
                    .with_user(Some("app".to_owned()))
                    .with_pass(Some("app-password".to_owned()))
                    .with_db_name(Some("notes".to_owned()));
                connection.change_user(options).await?;
            } else {
                ensure!(connection.reset().await?, "it is not reset");
            }
            let found: Option<u32> =
                connection.exec_first("SELECT COUNT(*) FROM n WHERE id = ?", (id,)).await?;
            ensure!(found == Some(1), "what it wrote is not there: {id}");
        }
        Ok(())
    })?;
    lab.database_query("db2", "START SLAVE")?;
    lab.down()
}

#[test]
fn a_session_begins_as_its_primary_says_and_replicas_read_under_the_same_terms() -> Result<()> {
    let lab = lab()?;
    // As servers are configured by hand: never quite alike.
    lab.database_query(
        "db2",
        "SET GLOBAL time_zone = '+09:00', GLOBAL sql_mode = 'ANSI_QUOTES', GLOBAL sql_select_limit = 1",
    )?;
    let here =
        "SELECT TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), CURRENT_TIMESTAMP()), \"text\" UNION ALL SELECT 2, 'b'";
    wait_for_the_primary_alone(&lab)?;
    let expected = run(&lab, 3307, &[], &format!("{here};;"))?;
    let before = replica_reads(&lab)?;
    let found = run(&lab, 3306, &[], &format!("{here};;"))?;
    ensure!(found == expected && !expected.is_empty(), "{found}, at the primary {expected}");
    ensure!(replica_reads(&lab)? > before, "it did not run at a replica");
    // A server that begins sessions without autocommit.
    lab.database_query(
        "db1",
        "CREATE TABLE notes.c (id INT); SET GLOBAL init_connect = 'SET autocommit = 0'",
    )?;
    let answers = run(
        &lab,
        3306,
        &[],
        "SELECT 'begun';; INSERT INTO c VALUES (1);; SELECT COUNT(*) FROM c;; ROLLBACK;; SELECT COUNT(*) FROM c;;",
    )?;
    ensure!(answers == "begun\n1\n0\n", "{answers}");
    lab.down()
}

/// What a driver reads in every answer decides whether it sends `COMMIT`.
#[test]
fn a_question_to_a_replica_in_the_midst_of_a_transaction_does_not_end_it_for_its_client() -> Result<()> {
    let lab = lab()?;
    lab.database_query("db1", "CREATE TABLE notes.n (id INT PRIMARY KEY)")?;
    let script = r#"
import pymysql
from pymysql.constants import SERVER_STATUS
connection = pymysql.connect(host="10.80.0.100", user="app", password="app-password", database="notes", autocommit=True)
cursor = connection.cursor()
cursor.execute("SELECT SQL_CALC_FOUND_ROWS 1 UNION SELECT 2 UNION SELECT 3 LIMIT 1")
cursor.execute("BEGIN")
cursor.execute("SELECT FOUND_ROWS()")
found = cursor.fetchall()
assert found == ((3,),), found
status = connection.server_status
assert status & SERVER_STATUS.SERVER_STATUS_IN_TRANS, status
cursor.execute("INSERT INTO n VALUES (1)")
cursor.execute("SHOW WARNINGS")
assert connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
connection.commit()
assert not connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
print("committed")
"#;
    let said = super::drivers::python(&lab, script)?;
    ensure!(said.trim() == "committed", "{said}");
    ensure!(lab.database_query("db1", "SELECT COUNT(*) FROM notes.n")?.trim() == "1");
    lab.down()
}

#[test]
fn passwords_that_only_servers_know_are_sent_in_secret_and_judged_there() -> Result<()> {
    let lab = lab()?;
    let config = lab.agent_config("lb1")?;
    let monitor = "[service.db.mysql.monitor]";
    let table = format!("[service.db.mysql]\nauth = \"passthrough\"\n\n{monitor}");
    lab.write_agent_config("lb1", &config.replace(monitor, &table))?;
    lbctl(&lab, &["apply"])?;
    lab.database_query(
        "db1",
        "CREATE USER 'guest'@'%' IDENTIFIED BY 'guest-password'; GRANT SELECT ON notes.* TO 'guest'@'%'",
    )?;
    lab.replicate()?;
    let before = replica_reads(&lab)?;
    let script = |password: &str| {
        format!(
            r#"
import pymysql
try:
    connection = pymysql.connect(host="10.80.0.100", user="guest", password="{password}", database="notes", autocommit=True)
    cursor = connection.cursor()
    cursor.execute("SELECT COUNT(*) FROM notes")
    print(cursor.fetchone()[0])
except pymysql.err.OperationalError as error:
    print(error.args[0])
"#
        )
    };
    // Without TLS: under a key of the proxy's.
    poll::until("they are let in", PATIENCE, || {
        let said = super::drivers::python(&lab, &script("guest-password"))?;
        ensure!(said.trim() == "0", "{said}");
        Ok(())
    })?;
    ensure!(replica_reads(&lab)? > before, "they read at the primary alone");
    ensure!(super::drivers::python(&lab, &script("wrong"))?.trim() == "1045");
    // Those that are known here need not send theirs.
    ensure!(run(&lab, 3306, &[], "SELECT 2;;")?.trim() == "2");
    ensure!(!lab.agent_log("lb1")?.contains("guest-password"));
    lab.down()
}
