//! `[service.NAME.mysql]`: users and their passwords, the monitor, and how recent answers have to be.

use super::Validator;
use crate::config::file::{DurationText, FileMysql, FileMysqlReplication, FileMysqlUser};
use crate::config::locate::{Complaint, Path};
use crate::config::mysql::{MysqlMonitor, MysqlTerms, MysqlUser, Secret};
use crate::model::{Consistency, Mode};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

const MAX_LAG: Duration = Duration::from_secs(10);
const MAX_WAIT: Duration = Duration::from_millis(50);
const INTERVAL: Duration = Duration::from_millis(500);
/// What names of users may have in MySQL; MariaDB allows more.
const NAME_CHARACTERS_MAX: usize = 128;

impl Validator<'_> {
    /// The terms of a service of MySQL; `None` inside is one of another mode.
    pub(super) fn mysql(
        &mut self,
        path: &Path,
        file: Option<&FileMysql>,
        mode: Mode,
    ) -> Option<Option<MysqlTerms>> {
        if mode != Mode::Mysql {
            let Some(_) = file else { return Some(None) };
            let wrong = format!("with mode \"{mode}\" nobody looks at what is asked of databases");
            let suggestion = "set mode = \"mysql\", or leave the table out".to_owned();
            return self.complain_of_key(path, Complaint::new(wrong).suggest(Some(suggestion)));
        }
        let Some(file) = file else {
            return self.missing(path, "a table [service.NAME.mysql] with a monitor and at least one user");
        };
        let consistency = match &file.consistency {
            Some(word) => self.parsed(&path.key("consistency"), word),
            None => Some(Consistency::Session),
        };
        let limits = Duration::from_millis(1)..=Duration::from_secs(86_400);
        let max_lag = self.duration(&path.key("max_lag"), file.max_lag.as_ref(), MAX_LAG, limits);
        let limits = Duration::ZERO..=Duration::from_secs(60);
        let max_wait = self.duration(&path.key("max_wait"), file.max_wait.as_ref(), MAX_WAIT, limits);
        let limits = Duration::from_millis(1)..=Duration::from_secs(86_400);
        let mut optional =
            |key: &str, text: Option<&DurationText>, limits: RangeInclusive<Duration>| match text {
                Some(text) => self.duration(&path.key(key), Some(text), *limits.start(), limits).map(Some),
                None => Some(None),
            };
        let slow_log = optional("slow_log", file.slow_log.as_ref(), limits);
        let limits = Duration::from_secs(1)..=Duration::from_secs(86_400);
        let multiplex_after = optional("multiplex_after", file.multiplex_after.as_ref(), limits);
        let monitor = self.monitor(&path.key("monitor"), file);
        let replication = match &file.replication {
            Some(table) => self.replication(&path.key("replication"), table).map(Some),
            None => Some(None),
        };
        let passthrough = self.passthrough(&path.key("auth"), file.auth.as_deref());
        let users = self.users(&path.key("user"), &file.user, passthrough == Some(true));
        Some(Some(MysqlTerms {
            consistency: consistency?,
            max_lag: max_lag?,
            max_wait: max_wait?,
            multiplex_after: multiplex_after?,
            slow_log: slow_log?,
            monitor: monitor?,
            users: users?,
            passthrough: passthrough?,
            replication: replication?,
        }))
    }

    fn passthrough(&mut self, path: &Path, word: Option<&str>) -> Option<bool> {
        match word {
            None | Some("configured") => Some(false),
            Some("passthrough") => Some(true),
            Some(other) => {
                let wrong = Complaint::new(format!("{other:?} is no way to log in"));
                self.complain(path, wrong.expected("\"configured\" or \"passthrough\""))
            }
        }
    }

    fn replication(&mut self, path: &Path, table: &FileMysqlReplication) -> Option<MysqlUser> {
        let name = match &table.user {
            Some(name) => self.user_name(&path.key("user"), name),
            None => self.missing(&path.key("user"), "the name of a user that may replicate from any backend"),
        };
        let password = self.secret(&path.key("password"), table.password.as_deref());
        Some(MysqlUser { name: name?, password: password? })
    }

    fn monitor(&mut self, path: &Path, file: &FileMysql) -> Option<MysqlMonitor> {
        let Some(monitor) = &file.monitor else {
            return self.missing(path, "a table with a user and a password that all backends know");
        };
        let user = match &monitor.user {
            Some(name) => self.user_name(&path.key("user"), name),
            None => self.missing(&path.key("user"), "the name of a user that all backends know"),
        };
        let password = self.secret(&path.key("password"), monitor.password.as_deref());
        let limits = Duration::from_millis(50)..=Duration::from_secs(60);
        let interval = self.duration(&path.key("interval"), monitor.interval.as_ref(), INTERVAL, limits);
        Some(MysqlMonitor { user: user?, password: password?, interval: interval? })
    }

    fn users(&mut self, path: &Path, files: &[FileMysqlUser], may_be_none: bool) -> Option<Vec<MysqlUser>> {
        if files.is_empty() && !may_be_none {
            return self
                .missing(path, "at least one table [[service.NAME.mysql.user]]: nobody else can log in");
        }
        let mut known = BTreeSet::new();
        let mut all = Some(Vec::new());
        for (index, entry) in files.iter().enumerate() {
            let path = path.index(index);
            let name = match &entry.name {
                Some(name) if !known.insert(name.clone()) => {
                    self.complain(&path.key("name"), Complaint::new(format!("{name:?} is there twice")))
                }
                Some(name) => self.user_name(&path.key("name"), name),
                None => self.missing(&path.key("name"), "a user's name as the backends know it"),
            };
            let password = self.secret(&path.key("password"), entry.password.as_deref());
            match (name, password, &mut all) {
                (Some(name), Some(password), Some(all)) => all.push(MysqlUser { name, password }),
                _ => all = None,
            }
        }
        all
    }

    fn user_name(&mut self, path: &Path, name: &str) -> Option<String> {
        let wrong = match name.chars().count() {
            0 => "is empty",
            length if length > NAME_CHARACTERS_MAX => "is too long",
            _ if name.contains('\0') => "has a zero byte in it",
            _ => return Some(name.to_owned()),
        };
        self.complain(path, Complaint::new(format!("{name:?} {wrong}")).expected("a user's name"))
    }

    /// A password, or where it is.
    fn secret(&mut self, path: &Path, text: Option<&str>) -> Option<Secret> {
        let Some(text) = text else {
            return self.missing(path, "\"file:/path\", \"env:NAME\", or the password itself");
        };
        if let Some(file) = text.strip_prefix("file:") {
            return self.absolute(path, file, "/etc/lbctl/app.password").map(Secret::File);
        }
        match text.strip_prefix("env:") {
            Some(name) if name.is_empty() || name.contains(['=', '\0']) => self.complain(
                path,
                Complaint::new("no variable has such a name").expected("such as \"env:APP_PASSWORD\""),
            ),
            Some(name) => Some(Secret::Environment(name.to_owned())),
            None => Some(Secret::Inline(text.to_owned())),
        }
    }
}
