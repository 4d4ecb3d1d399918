//! More sessions than connections: those that say nothing lend theirs.

use super::drivers::python;
use super::lab;
use crate::client::lbctl;
use anyhow::{Result, ensure};

/// Of each server.
const CONNECTIONS: u32 = 8;
/// What threads of the proxy may have beside that: connections that nobody has at the moment.
const SPARES: u32 = 2 * 16;

/// Every session has settings of its own, and has to find them again whichever connection it gets.
const SESSIONS: &str = r#"
import pymysql, time
def connect(number):
    session = pymysql.connect(host="10.80.0.100", port=3306, user="app", password="app-password", database="notes", autocommit=True, read_timeout=30)
    ask(session, f"SET SESSION sql_mode = '{modes[number % 2]}', time_zone = '+0{number % 9}:00'")
    # A trigger may assign variables, for all that is known: who writes and uses some keeps its connection.
    if number % 2:
        ask(session, f"INSERT INTO many (number) VALUES ({number})")
        ids[number] = ask(session, "SELECT LAST_INSERT_ID()")[0][0]
    else:
        ask(session, f"SET @number = {number}")
    if number % 3 == 0:
        ask(session, "USE other")
    return session
def ask(session, sql):
    with session.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()
modes, ids = ["ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"], {}
sessions = [connect(number) for number in range(24)]
time.sleep(1.5) # they say nothing for as long as it takes
held = []
for rounds in range(2):
    for number, session in enumerate(sessions):
        schema = "other" if number % 3 == 0 else "notes"
        own = "LAST_INSERT_ID()" if number % 2 else "@number"
        found = ask(session, f"SELECT {own}, @@SESSION.sql_mode, DATABASE(), @@time_zone")
        expected = ids.get(number, number), modes[number % 2], schema, f"+0{number % 9}:00"
        assert found == (expected,), (number, found)
        found = ask(session, f"SELECT COUNT(*), DATABASE() FROM notes.many WHERE number = {number}")
        assert found == ((number % 2, schema),), (number, found)
        if number % 8 == 7:
            time.sleep(1.2)
# What cannot be said again stays where it is.
ask(sessions[1], "CREATE TEMPORARY TABLE own (n INT)")
ask(sessions[1], "INSERT INTO own VALUES (7)")
ask(sessions[2], "BEGIN")
ask(sessions[2], "INSERT INTO many (number) VALUES (1000)")
ask(sessions[3], "SELECT GET_LOCK('mine', 0)")
time.sleep(2.5)
assert ask(sessions[1], "SELECT n FROM own") == ((7,),)
ask(sessions[2], "ROLLBACK")
assert ask(sessions[2], "SELECT COUNT(*) FROM notes.many WHERE number = 1000") == ((0,),)
assert ask(sessions[3], "SELECT IS_USED_LOCK('mine') = CONNECTION_ID()") == ((1,),)
print("all found", ask(sessions[4], "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'")[0][0])
"#;

#[test]
fn sessions_that_say_nothing_lend_their_connections_and_find_all_again() -> Result<()> {
    let lab = lab()?;
    lab.database_query(
        "db1",
        "CREATE TABLE notes.many (id INT AUTO_INCREMENT PRIMARY KEY, number INT); CREATE DATABASE other; GRANT ALL ON other.* TO 'app'@'%';\
         GRANT PROCESS ON *.* TO 'app'@'%';",
    )?;
    lab.replicate()?;
    let text = lab.agent_config("lb1")?;
    let (begin, rest) = text.split_once("[service.db.mysql.monitor]").unwrap_or_default();
    let rest = ["db1", "db2"].iter().fold(rest.to_owned(), |text, db| {
        text.replacen(
            &format!("name = \"{db}\"\n"),
            &format!("name = \"{db}\"\nmax_flows = {CONNECTIONS}\n"),
            1,
        )
    });
    let table = "[service.db.mysql]\nmultiplex_after = \"1s\"\n\n[service.db.mysql.monitor]";
    lab.write_agent_config("lb1", &format!("{begin}{table}{rest}"))?;
    let said = lbctl(&lab, &["apply"])?;
    ensure!(said.contains("multiplex_after 1s"), "{said}");
    let said = python(&lab, SESSIONS)?;
    let count = said.trim().strip_prefix("all found ").and_then(|count| count.parse::<u32>().ok());
    ensure!(count.is_some_and(|count| count <= CONNECTIONS + SPARES), "{said}");
    lab.down()
}
