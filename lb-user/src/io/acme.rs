//! Asking an authority for a certificate: ACME (RFC 8555), by the library for it.
//!
//! Owns the course of one order. Where answers to challenges are given, and what becomes of the certificate, whoever asked for it decides:
//! it is told of each step, and each challenge waits until it says that the answer can be given.

pub mod kept;

use crate::config::Acme;
use crate::core::acme::{Asked, Challenge};
use crate::model::AcmeChallenge;
use instant_acme::{
    Account, AccountBuilder, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// In all: an authority looks from several places, and answers within seconds.
const ORDERED_WITHIN: Duration = Duration::from_secs(180);
const POLLED_WITHIN: Duration = Duration::from_secs(120);

/// A step of an order.
#[derive(Debug)]
pub enum OrderEvent {
    /// The authority has an account for us now, which is this.
    AccountMade(String),
    /// These will be asked for, once it is said that they can be answered.
    Challenged(Vec<Challenge>, oneshot::Sender<()>),
    /// There is a certificate: those that lead to the authority, and its key, in PEM.
    Issued(String),
    /// There is none.
    Failed {
        /// Why.
        why: String,
        /// The authority does not know this account, or it is none: the next order needs another one.
        dead_account: Option<String>,
    },
}

#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error(transparent)]
    Acme(#[from] Error),
    #[error("the account that is kept is none: {0}")]
    Account(#[from] serde_json::Error),
    #[error("{name}: the authority does not look for proof by {wanted}")]
    NotOffered { name: String, wanted: AcmeChallenge },
    #[error("{0}")]
    Invalid(String),
    #[error("{0}: an order with nothing left to prove, and no certificate")]
    Unready(String),
    #[error("nobody waits for it any more")]
    Abandoned,
    #[error("it took more than {} seconds", ORDERED_WITHIN.as_secs())]
    TimedOut,
}

impl OrderError {
    fn is_account_dead(&self) -> bool {
        const UNKNOWN: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
        match self {
            Self::Account(_) => true,
            Self::Acme(Error::Api(problem)) => problem.r#type.as_deref() == Some(UNKNOWN),
            _ => false,
        }
    }
}

/// Asks for a certificate. All that happens is told, a failure or the certificate last.
pub async fn order(
    terms: Acme,
    account: Option<String>,
    asked: Asked,
    events: mpsc::Sender<(Asked, OrderEvent)>,
) {
    let ordering = timeout(ORDERED_WITHIN, obtain(&terms, account.clone(), &asked, &events));
    let event = match ordering.await.unwrap_or(Err(OrderError::TimedOut)) {
        Ok(pem) => OrderEvent::Issued(pem),
        Err(error) => OrderEvent::Failed {
            why: error.to_string(),
            dead_account: account.filter(|_| error.is_account_dead()),
        },
    };
    // An agent that is gone needs none.
    let _ = events.send((asked, event)).await;
}

async fn obtain(
    terms: &Acme,
    account: Option<String>,
    asked: &Asked,
    events: &mpsc::Sender<(Asked, OrderEvent)>,
) -> Result<String, OrderError> {
    let tell = async |event| events.send((asked.clone(), event)).await.map_err(|_| OrderError::Abandoned);
    let account = match account {
        Some(kept) => builder(terms)?.from_credentials(serde_json::from_str(&kept)?).await?,
        None => {
            let (account, credentials) = make_account(terms).await?;
            tell(OrderEvent::AccountMade(serde_json::to_string(&credentials)?)).await?;
            account
        }
    };
    let identifiers: Vec<Identifier> = asked.names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    if order.state().status == OrderStatus::Pending {
        let challenges = challenges(&mut order, terms.challenge).await?;
        let (can_answer, answers) = oneshot::channel();
        tell(OrderEvent::Challenged(challenges, can_answer)).await?;
        answers.await.map_err(|_| OrderError::Abandoned)?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Valid
                && let Some(mut challenge) = authorization.challenge(kind(terms.challenge))
            {
                challenge.set_ready().await?;
            }
        }
    }
    let polling = RetryPolicy::new().timeout(POLLED_WITHIN).backoff(1.5);
    let status = order.poll_ready(&polling).await?;
    if status != OrderStatus::Ready {
        return Err(refusal(&mut order, &asked.to_string()).await?);
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&polling).await?;
    Ok(format!("{}\n{key}", chain.trim_end()))
}

fn builder(terms: &Acme) -> Result<AccountBuilder, Error> {
    match &terms.ca {
        Some(ca) => Account::builder_with_root(ca),
        None => Account::builder(),
    }
}

async fn make_account(terms: &Acme) -> Result<(Account, instant_acme::AccountCredentials), Error> {
    let contact: Vec<&str> = terms.contact.iter().map(String::as_str).collect();
    // The configuration says that the operator has agreed; without that there is none.
    let account =
        NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    builder(terms)?.create(&account, terms.directory.clone(), None).await
}

/// Those that have to be answered.
async fn challenges(order: &mut Order, wanted: AcmeChallenge) -> Result<Vec<Challenge>, OrderError> {
    let mut all = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let Some(challenge) = authorization.challenge(kind(wanted)) else {
            return Err(OrderError::NotOffered { name, wanted });
        };
        let key_authorization = challenge.key_authorization().as_str().to_owned();
        all.push(Challenge { name, kind: wanted, token: challenge.token.clone(), key_authorization });
    }
    Ok(all)
}

/// Why an order was refused, in the authority's own words where it has some.
async fn refusal(order: &mut Order, names: &str) -> Result<OrderError, Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let state = authorization.refresh().await?;
        let name = state.identifier().to_string();
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Ok(OrderError::Invalid(format!("{name}: {problem}")));
        }
    }
    Ok(OrderError::Unready(names.to_owned()))
}

fn kind(challenge: AcmeChallenge) -> ChallengeType {
    match challenge {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}
