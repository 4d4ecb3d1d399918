//! A replica takes the primary's place, because somebody wants it.
//!
//! Owns who is asked whether it may be, and that the agent goes on meanwhile. The monitors find out what came of it, on this node and others.

use super::password;
use crate::agent::state::Agent;
use crate::api::{ApiError, ErrorKind, EventKind, MysqlPromoted, MysqlPromotion, Reply};
use crate::core::mysql::promotion::promotion;
use crate::io::proxy::mysql::{Asked, Promoting, promote};
use crate::model::{BackendName, ServiceName};
use std::time::{Duration, Instant};

impl Agent {
    /// Begins it; the answer comes when it is over.
    pub(in crate::agent) fn mysql_promote(
        &mut self,
        service: &ServiceName,
        wanted: MysqlPromotion,
        reply: Reply<MysqlPromoted>,
    ) {
        let promoting = match self.promoting(service, &wanted) {
            Ok(promoting) => promoting,
            Err(error) => {
                // A client that left no longer wants its answer.
                let _ = reply.send(Err(error));
                return;
            }
        };
        let backend = wanted.backend;
        let message = format!("service {service}: backend {backend} is to take the primary's place");
        self.journal.record(EventKind::ConfigChanged, message);
        let service = service.clone();
        tokio::spawn(async move {
            let promoted = promote(promoting).await;
            let _ = reply.send(match promoted {
                Ok(left) => Ok(MysqlPromoted { backend, left }),
                Err(error) => {
                    let message = format!("service {service}: backend {backend} was not promoted: {error}");
                    Err(ApiError::new(ErrorKind::Conflict, message))
                }
            });
        });
    }

    fn promoting(&self, service: &ServiceName, wanted: &MysqlPromotion) -> Result<Promoting, ApiError> {
        let config = self.database(service)?;
        let backend = &wanted.backend;
        let none =
            || ApiError::new(ErrorKind::NotFound, format!("service {service} has no backend {backend}"));
        let database = self.databases.services.get(service).ok_or_else(none)?;
        let all: Vec<BackendName> = database.watchers.keys().cloned().collect();
        let asked = |name: &BackendName| -> Result<Asked, ApiError> {
            database.watchers.get(name).map(|watcher| watcher.asked.clone()).ok_or_else(none)
        };
        let chosen = asked(backend)?;
        let plan = promotion(&database.topology, &all, backend, wanted.primary_is_down, Instant::now());
        let plan = plan.map_err(|refusal| {
            let message = format!("service {service}: backend {backend} is not promoted: {refusal}");
            ApiError::new(ErrorKind::Conflict, message)
        })?;
        let user = config.mysql.as_ref().and_then(|terms| terms.replication.as_ref());
        let replication = match user {
            Some(user) => {
                let password =
                    password(&user.password).map_err(|why| ApiError::new(ErrorKind::Invalid, why))?;
                Some((user.name.clone(), password))
            }
            None => None,
        };
        Ok(Promoting {
            chosen,
            old: plan.old.as_ref().map(asked).transpose()?,
            others: plan.others.iter().map(asked).collect::<Result<_, _>>()?,
            replication,
            within: Duration::from_millis(wanted.within_ms),
        })
    }
}
